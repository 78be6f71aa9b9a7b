"""The trainer, evaluation, and runs on disk."""

import json
import types

import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import optax
import pytest

import unspool
from unspool import problems
from unspool._joint import as_joint
from unspool._lines import MOST_PARAMS_LOGGED, first_line
from unspool._memory import Memory, free_bytes, in_words
from unspool.records import MetricsLine

KEY = jax.random.key(0)
NRES = unspool.NRES(4, 5, 0.1)


class Brittle(unspool.AbstractProblem):
    """Every loss is NaN once the parameter is above one half."""

    horizon: int = 10

    def init_params(self, *, key):
        return jnp.array(0.0)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        return state, jnp.where(params > 0.5, jnp.nan, -params)


def train(problem=None, **options):
    options = dict(num_updates=60, key=KEY, log_every=20) | options
    problem = problems.LinearQuadratic(horizon=10) if problem is None else problem
    return list(unspool.train(problem, NRES, optax.sgd(1e-2), **options))


class Wide(unspool.AbstractProblem):
    """Many parameters and a small state."""

    size: int = 10_000
    horizon: int = 20

    def init_params(self, *, key):
        return jnp.zeros(self.size)

    def init_state(self, params, *, key):
        return jnp.zeros(2)

    def step(self, params, state, t, *, key):
        state = 0.5 * state + jnp.sum(params) * jnp.ones(2)
        return state, jnp.sum((state - 1.0) ** 2)


def test_memory_is_predicted_and_parameters_are_not_held_for_every_worker():
    struct = jax.ShapeDtypeStruct((10_000,), jnp.result_type(float))
    size, sgd, num_workers = 10_000 * struct.dtype.itemsize, optax.sgd(0.1), 64
    need = lambda estimator: unspool.predict_memory(Wide(), estimator, sgd, struct)
    reuse, fresh = unspool.NRES(num_workers, 5, 0.1), unspool.PES(num_workers, 5, 0.1)
    small = need(unspool.Chunked(reuse, 4))
    # The parameters, those at the start of an episode, two sums, and a few bytes for every worker.
    assert 4 * size < small.state < 4.5 * size
    assert small.work < 10 * 4 * size
    assert need(reuse).work > 2 * num_workers * size
    # One accumulator for every worker.
    assert num_workers * size < need(fresh).state < 1.1 * num_workers * size + small.state


def test_memory_is_predicted_for_a_record_of_every_update_unless_said_otherwise():
    job = Wide(10), unspool.NRES(4, 5, 0.1), optax.sgd(0.1), jnp.zeros(10)
    work = lambda **every: unspool.predict_memory(*job, **every).work
    assert work() == work(log_every=1) < work(log_every=2)


def test_memory_is_enough_up_to_the_last_byte():
    Memory(3, 4, 7).check()
    Memory(3, 4, None).check()
    with pytest.raises(MemoryError, match="needs 7 B .3 B of state, 4 B of work.*6 B are free"):
        Memory(3, 4, 6).check()


def test_bytes_have_three_digits():
    said = {1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 2**20: "1 MiB", 2**50: "1024 TiB"}
    assert {count: in_words(count) for count in said} == said


def test_a_device_says_what_it_has_left(monkeypatch):
    stats = {"bytes_limit": 70, "bytes_in_use": 30}
    device = types.SimpleNamespace(memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "devices", lambda: [device])
    assert free_bytes() == 40
    # Where it does not say, the machine does.
    stats = None
    assert free_bytes() is None or free_bytes() > 40


def test_what_does_not_fit_is_refused_before_it_runs(tmp_path):
    job = Wide(10**7), unspool.NRES(10**5, 5, 0.1), optax.sgd(0.1)
    run = unspool.Run.create(tmp_path / "run", {})
    for train in (unspool.train, run.train):
        with pytest.raises(MemoryError, match=r"training needs .* TiB .*are free.*Chunked"):
            next(train(*job, num_updates=1, key=jax.random.key(0)))
    assert not run.checkpoints


def test_records_count_updates_and_steps():
    records = train(num_updates=50)
    assert [record.update for record in records] == [20, 40, 50]
    last = records[-1]
    assert last.steps == last.useful_steps == 50 * 2 * 4 * 5
    assert last.warmup_steps == 2 * 4 * 5
    assert last.sequential_steps == 51 * 5
    assert last.dropped == 0 and last.result == unspool.RESULTS.successful
    assert 0 < records[0].seconds < last.seconds
    assert last.loss < records[0].loss


def test_training_is_the_same_steps_as_make_step():
    problem = problems.LinearQuadratic(horizon=10)
    init, step = unspool.make_step(problem, NRES, optax.sgd(1e-2))
    params = problem.init_params(key=KEY)
    state = init(params, key=KEY)
    losses = []
    for _ in range(60):
        state, estimate = jax.jit(step)(state)
        losses.append(float(estimate.loss))
    records = train(params=params)
    np.testing.assert_allclose(records[-1].params, state.params, rtol=1e-5)
    np.testing.assert_allclose(records[-1].loss, np.mean(losses[40:]), rtol=1e-5)


def test_how_often_records_are_made_changes_no_bit():
    often = train(log_every=7)
    seldom = train(log_every=60)
    assert np.array_equal(often[-1].params, seldom[-1].params)


def test_optimizers_that_look_at_the_loss_get_it():
    optimizer = optax.chain(optax.sgd(1e-2), optax.contrib.reduce_on_plateau(patience=2))
    problem = problems.LinearQuadratic(horizon=10)
    records = list(unspool.train(problem, NRES, optimizer, num_updates=10, key=KEY))
    assert np.isfinite(records[-1].params).all()


def test_training_stops_when_nothing_is_left_to_learn_from():
    with pytest.raises(unspool.TrainingError, match="Every worker.*smaller learning rate"):
        list(unspool.train(Brittle(), NRES, optax.sgd(0.2), num_updates=50, key=KEY, log_every=5))
    records = list(
        unspool.train(
            Brittle(), NRES, optax.sgd(0.2), num_updates=50, key=KEY, log_every=5, throw=False
        )
    )
    assert records[-1].result == unspool.RESULTS.all_workers_dropped
    assert all(np.isfinite(record.params) for record in records)


def test_the_caller_keeps_the_parameters_given():
    params = jnp.ones(4)
    train(params=params)
    assert np.array_equal(params, np.ones(4))


def test_evaluation_is_the_mean_over_fresh_episodes(float64):
    problem = problems.LinearQuadratic(noise=0.5)
    params = problem.init_params(key=KEY)
    many = unspool.evaluate(problem, params, key=KEY, num_episodes=4000)
    few = unspool.evaluate(problem, params, key=jax.random.key(1), num_episodes=4000)
    error = float(np.hypot(many.standard_error, few.standard_error))
    assert 0 < abs(float(many.loss - few.loss)) < 4 * error < 0.1 * float(many.loss)
    still = problems.LinearQuadratic()
    state = still.init_state(params, key=KEY)
    losses = []
    for t in range(still.horizon):
        state, loss = still.step(params, state, jnp.array(t), key=KEY)
        losses.append(loss)
    exact = unspool.evaluate(still, params, key=KEY, num_episodes=3)
    np.testing.assert_allclose(exact.loss, np.mean(losses), rtol=1e-12)
    assert jnp.isnan(unspool.evaluate(still, params, key=KEY).standard_error)


def test_evaluation_of_random_lengths_is_the_mean_per_step(float64):
    problem = problems.RandomLength()
    params = problem.init_params(key=KEY)
    found = unspool.evaluate(problem, params, key=KEY, num_episodes=4000)
    totals = {}
    state = problem.init_state(params, key=KEY)
    total = 0.0
    for t in range(problem.horizon):
        state, loss = problem.step(params, state, jnp.array(t), key=KEY)
        total += loss
        totals[t + 1] = total
    lengths = problem.lengths
    exact = sum(totals[n] for n in lengths) / sum(lengths)
    assert abs(float(found.loss - exact)) < 4 * float(found.standard_error) < 0.1 * abs(exact)


def test_a_run_resumes_from_any_checkpoint_to_the_same_bits(tmp_path):
    problem = problems.LinearQuadratic(horizon=10)
    options = dict(num_updates=60, key=KEY, log_every=10, checkpoint_every=20)
    run = unspool.Run.create(tmp_path / "run", {"label": "x"})
    list(run.train(problem, NRES, optax.adam(1e-2), **options))
    assert run.checkpoints == [0, 20, 40, 60]
    final = (tmp_path / "run" / "checkpoints" / "60.npz").read_bytes()
    metrics = run.read_metrics()
    assert [line.update for line in metrics] == [0, 10, 20, 30, 40, 50, 60]
    for start in (0, 20, 40):
        again = unspool.Run.open(tmp_path / "run")
        list(again.train(problem, NRES, optax.adam(1e-2), resume_from=start, **options))
        assert (tmp_path / "run" / "checkpoints" / "60.npz").read_bytes() == final
        for new, old in zip(again.read_metrics(), metrics, strict=True):
            assert msgspec.structs.replace(new, seconds=old.seconds) == old
        # What was spent before is not forgotten.
        seconds = [line.seconds for line in again.read_metrics()]
        assert seconds == sorted(seconds)
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "finished"
    # Nothing is run twice where nobody asks for it.
    options["num_updates"] = 80
    more = again.train(problem, NRES, optax.adam(1e-2), **options)
    assert [record.update for record in more] == [70, 80]


def test_a_run_that_fails_says_so_and_why(tmp_path):
    run = unspool.Run.create(tmp_path / "run", {})
    with pytest.raises(unspool.TrainingError, match="workers dropped"):
        list(run.train(Brittle(), NRES, optax.sgd(0.2), num_updates=50, key=KEY, log_every=5))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["status"] == "failed" and "workers dropped" in status["message"]


def test_a_directory_in_use_is_refused_and_left_alone(tmp_path):
    unspool.Run.create(tmp_path / "run", {"label": "x"})
    before = (tmp_path / "run" / "config.json").read_text()
    with pytest.raises(unspool.RunError, match="already holds a run"):
        unspool.Run.create(tmp_path / "run", {"label": "y"})
    assert (tmp_path / "run" / "config.json").read_text() == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(unspool.RunError, match="thesis.tex"):
        unspool.Run.create(tmp_path / "other", {})
    with pytest.raises(unspool.RunError, match="there is no run in"):
        unspool.Run.open(tmp_path / "other")


def test_the_line_before_the_first_update_says_what_the_start_has_cost():
    """Four workers warm up through three windows of three steps, each with two arms."""
    joint = as_joint(problems.Cubic(horizon=12))
    assert first_line(jnp.arange(2.0), unspool.NRES(4, 3, 0.1), joint) == MetricsLine(
        update=0,
        seconds=0.0,
        steps=0,
        useful_steps=0,
        warmup_steps=3 * 2 * 4 * 3,
        sequential_steps=3 * 3,
        loss=None,
        grad_norm=None,
        dropped=0,
        result="successful",
        params=[0.0, 1.0],
    )


def test_a_run_starts_from_the_parameters_that_it_is_given(tmp_path):
    run, given = unspool.Run.create(tmp_path / "run", {}), {"level": 0.7, "slope": -0.3}
    params = jax.tree.map(jnp.asarray, given)
    job = problems.Cubic(), NRES, optax.sgd(0.0)
    *_, last = run.train(*job, num_updates=2, key=KEY, params=params)
    jax.tree.map(np.testing.assert_array_equal, last.params, params)


@pytest.mark.slow
def test_lines_hold_the_parameters_if_they_are_few():
    line = lambda size: first_line(jnp.zeros(size), NRES, as_joint(problems.Cubic()))
    assert line(MOST_PARAMS_LOGGED).params == [0.0] * MOST_PARAMS_LOGGED
    assert line(MOST_PARAMS_LOGGED + 1).params is None


def test_what_a_crash_leaves_of_a_run_is_read_or_named(tmp_path):
    run, file = unspool.Run.create(tmp_path / "run", {}), tmp_path / "run" / "metrics.jsonl"
    line = lambda update: MetricsLine(update=update, seconds=0.0, steps=3, sequential_steps=3)
    for update in (1, 2):
        run.append(msgspec.structs.replace(line(update), loss=float("nan")))
    with open(file, "a") as opened:
        opened.write('{"update": 3, "lo')
    assert run.read_metrics() == [line(1), line(2)]
    # What comes next takes the place of what was cut short, be it all there is.
    run.append(line(4))
    assert run.read_metrics() == [line(1), line(2), line(4)]
    file.write_text('{"upda')
    run.append(line(5))
    assert run.read_metrics() == [line(5)] and run.read_evaluations() == []
    file.write_text('{"update": 3, "lo\n' + file.read_text())
    with pytest.raises(unspool.RunError, match="metrics.jsonl, line 1 is not valid JSON"):
        run.read_metrics()
    config = tmp_path / "run" / "config.json"
    for damaged, message in (
        ('{"format": ', "config.json is not valid JSON .Expecting value"),
        (
            '{"format": 999}',
            "has format 999, which a newer version of .* this one reads formats up to 2",
        ),
        ("{}", "'format' is missing; it must be a whole number"),
    ):
        config.write_text(damaged)
        with pytest.raises(unspool.RunError, match=message):
            unspool.Run.open(tmp_path / "run")


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path):
    problem = problems.LinearQuadratic(horizon=10)
    run = unspool.Run.create(tmp_path / "run", {})
    list(run.train(problem, NRES, optax.sgd(1e-2), num_updates=4, key=KEY))
    with pytest.raises(unspool.CheckpointError, match="is of another run"):
        list(run.train(problem, unspool.NRES(8, 5, 0.1), optax.sgd(1e-2), num_updates=8, key=KEY))
    with pytest.raises(unspool.RunError, match="no checkpoint 7 in"):
        list(run.train(problem, NRES, optax.sgd(1e-2), num_updates=8, key=KEY, resume_from=7))


def test_a_run_is_trained_by_one_at_a_time(tmp_path, key):
    job = problems.Cubic(), unspool.NRES(4, 4, 0.1), optax.sgd(0.01)
    go = lambda run, count: run.train(*job, num_updates=count, key=key, log_every=1)
    first = go(unspool.Run.create(tmp_path / "run", {}), 4)
    next(first)
    with pytest.raises(unspool.RunError, match="being trained at this moment"):
        next(go(unspool.Run.open(tmp_path / "run"), 4))
    # Who has gone holds nothing, however it went.
    first.close()
    *_, last = go(unspool.Run.open(tmp_path / "run"), 4)
    updates = [line.update for line in unspool.Run.open(tmp_path / "run").read_metrics()]
    assert last.update == 4 and updates == [0, 1, 2, 3, 4]
