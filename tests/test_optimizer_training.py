"""Meta-training: the problem, lengths of runs, meta-losses, and several tasks at once."""

import math
import os
import subprocess
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from msgspec.structs import replace

import unspool
from support.slow import slow
from unspool import problems
from unspool.problems.learned_optimizer import (
    Fixed,
    LearnedSGD,
    Lengthening,
    LogUniform,
    MLPOptimizer,
    OptimizerTraining,
    Task,
)
from unspool.problems.schedules import (
    Clipped,
    Data,
    Final,
    Logarithm,
    Model,
    Normalized,
    TrainLoss,
    ValidLoss,
)

KEY = jax.random.key(0)
POINTS = np.linspace(-1.0, 1.0, 8)[:, None]


def distance(weights, batch):
    """The mean squared distance of a point from the batch's."""
    return jnp.mean((jnp.broadcast_to(weights["w"], batch.shape) - batch) ** 2)


def training(**options):
    model = Model(lambda key: {"w": 3.0 + jax.random.normal(key, (1,))}, distance)
    task = Task(model, Data(POINTS, POINTS + 0.5, 2))
    options = dict(optimizer=LearnedSGD(0.05), task=task, horizon=12) | options
    return OptimizerTraining(**options)


@eqx.filter_jit
def run_of(problem, params, key):
    """An episode's losses and weights after every step, and its length."""
    engine = unspool.LocalEngine(problem)

    def step(rows, _):
        rows, loss = engine.unroll(params, rows, 1)
        return rows, (loss[0, 0], rows.arms.state["weights"]["w"][0, 0])

    begun = engine.start(params, jax.random.split(key, 1))
    losses, weights = jax.lax.scan(step, begun, length=problem.horizon)[1]
    return losses, weights, begun.clock.length[0]


def losses_of(problem, params, key=KEY):
    return np.asarray(run_of(problem, params, key)[0])


def start(problem):
    return problem.init_params(key=KEY)


def test_a_step_is_one_of_plain_optax(float64):
    problem = training(objective=TrainLoss(), horizon=6)
    params = start(problem)
    key = jax.random.split(KEY, 6)
    state = problem.init_state(params, key=KEY)
    weights = state["weights"]
    plain = optax.sgd(0.05, 0.9)
    memory = plain.init(weights)
    for t in range(6):
        train_key, _ = jax.random.split(key[t])
        batch = problem.task.data.draw_train(train_key)
        updates, memory = plain.update(jax.grad(distance)(weights, batch), memory)
        weights = optax.apply_updates(weights, updates)
        state, _ = problem.step(params, state, jnp.array(t), key=key[t])
        assert abs(float((state["weights"]["w"] - weights["w"])[0])) < 1e-14


@pytest.mark.parametrize("kind", [unspool.NRES, slow(unspool.PES)])
def test_the_gradient_of_a_run_is_that_of_reverse_mode_and_of_perturbed_ones(kind, float64):
    problem = training(optimizer=LearnedSGD(0.02, 0.5))
    found = unspool.check_unbiased(problem, kind(20, 3, 0.01), key=KEY, num_chains=100)
    assert found.passed, found
    assert np.max(found.standard_error) < 0.1 * np.max(np.abs(found.reference)), found


@pytest.mark.slow
def test_one_sequence_is_the_same_in_every_run():
    problem = training(sequence_seed=88)
    params, (one, two) = start(problem), jax.random.split(KEY)
    found = losses_of(problem, params, one)
    assert np.array_equal(found, losses_of(problem, params, two)) and len(set(found)) == 12
    assert not np.array_equal(losses_of(training(sequence_seed=89), params), found)
    # Every step has a batch of its own.
    state = problem.init_state(params, key=one)
    after = lambda t, key: float(problem.step(params, state, t, key=key)[0]["weights"]["w"][0])
    some = [after(t, one) for t in range(8)]
    assert some == [after(t, two) for t in range(8)] and len(set(some)) > 3
    seeded = training(optimizer=MLPOptimizer((2,)), init_seed=2)
    drawn = [seeded.init_params(key=key) for key in (one, two)]
    assert eqx.tree_equal(*drawn)
    free = training()
    assert not np.array_equal(losses_of(free, params, one), losses_of(free, params, two))


def test_lengths_are_log_uniform():
    lengths, horizon, count = LogUniform(20), 500, 20_000
    draw = jax.vmap(lambda key: lengths.episodes(horizon).draw_length(key=key))
    found = np.asarray(draw(jax.random.split(KEY, count)))
    assert found.min() == 20 and found.max() == 500
    for quantile in (0.1, 0.5, 0.9):
        edge = 20 * (501 / 20) ** quantile
        share = np.mean(found < edge)
        # The lengths are whole, so that an edge stands for up to one of them more.
        slack = 4 * math.sqrt(quantile * (1 - quantile) / count) + 1 / edge / math.log(501 / 20)
        assert abs(share - quantile) < slack
    error = found.std() / math.sqrt(count)
    assert abs(found.mean() - lengths.mean(horizon)) < 4 * error + 0.05 and error < 1
    assert abs(found.mean() - (20 + 500) / 2) > 20 * error


def test_a_curriculum_grows_from_the_first_length_to_the_horizon():
    lengths = Lengthening(first=10, num_runs=40)
    episode_ids = jnp.arange(100)
    found = np.asarray(jax.vmap(lambda b: lengths.episodes(1000).max_length(b))(episode_ids))
    assert found[0] == 10 and np.all(found[40:] == 1000) and np.all(np.diff(found) >= 0)
    assert found[20] == 100


ESTIMATORS = {
    "NRES": unspool.NRES(4, 3, 0.1),
    "TES": unspool.TruncatedES(4, 3, 0.1),
    "DODGE": unspool.DODGE(4, 3),
    "TBPTT": unspool.TBPTT(4, 3),
    "RTRL": unspool.RTRL(4, 3),
}


@pytest.mark.parametrize("name", ["NRES", slow("TES"), slow("DODGE"), slow("TBPTT"), slow("RTRL")])
def test_every_kernel_follows_a_curriculum(name):
    problem = training(lengths=Lengthening(first=3, num_runs=20))
    estimator, params = ESTIMATORS[name], start(problem)
    state = estimator.init(problem, params, key=KEY)
    seen = {}
    for _ in range(30):
        _, state = estimator.estimate(problem, params, state)
        ends = zip(
            state[0].each.episode.tolist(), state[0].trajectories.clock.length.tolist(), strict=True
        )
        seen |= dict(ends)
    for episode, end in seen.items():
        assert end == int(problem.episodes.max_length(jnp.array(episode)))
    assert min(seen.values()) < 6 and max(seen.values()) == 12


def test_without_a_curriculum_all_episodes_have_the_horizon():
    still, estimator = training(), ESTIMATORS["NRES"]
    assert not still.episodes.random_length
    assert training(lengths=Lengthening(3, 20)).episodes.random_length
    state = estimator.init(still, start(still), key=KEY)
    _, state = estimator.estimate(still, start(still), state)
    assert set(state[0].trajectories.clock.length.tolist()) == {12}


@pytest.mark.slow
def test_the_final_meta_loss_of_random_lengths_is_that_of_the_last_step():
    problem = training(objective=Final(ValidLoss()), lengths=LogUniform(3))
    params = start(problem)
    found = unspool.evaluate(problem, params, key=KEY, num_episodes=4000)
    runs = eqx.filter_jit(jax.vmap(lambda key: run_of(problem, params, key)[1:]))
    weights, lengths = runs(jax.random.split(jax.random.key(1), 4000))
    last = np.asarray(weights[np.arange(4000), np.asarray(lengths) - 1])
    ends = np.mean((last[:, None] - (POINTS + 0.5)) ** 2, axis=(1, 2))
    error = math.hypot(ends.std() / math.sqrt(4000), float(found.standard_error))
    assert abs(float(found.loss) - ends.mean()) < 4 * error < 0.1 * ends.mean()
    through = training(lengths=LogUniform(3))
    mean = unspool.evaluate(through, params, key=KEY, num_episodes=4000)
    assert abs(float(mean.loss) - ends.mean()) > 4 * error


def test_meta_losses_are_what_they_say():
    params, plain = start(training()), losses_of(training(), start(training()))
    most = float(np.median(plain))
    found = lambda objective: losses_of(training(objective=objective), params)
    clipped = found(Clipped(ValidLoss(), most))
    assert np.allclose(clipped, np.minimum(plain, most)) and clipped.max() < plain.max()
    assert np.allclose(found(Logarithm(ValidLoss(), 0.1)), np.log(plain + 0.1), atol=1e-6)
    assert np.allclose(found(Normalized(ValidLoss(), 4.0)), plain / 4)
    assert found(Final(Clipped(ValidLoss(), most))).sum() / 12 <= most + 1e-6


def test_runs_that_diverge_are_dropped_and_counted_whatever_the_meta_loss():
    wild = training(optimizer=LearnedSGD(1e30), objective=Clipped(ValidLoss(), 1.0))
    estimator = unspool.NRES(4, 3, 0.01)
    records = unspool.train(
        wild, estimator, optax.sgd(1e-3), num_updates=20, key=KEY, log_every=10, throw=False
    )
    last = list(records)[-1]
    assert last.dropped > 0 and last.result != unspool.RESULTS.successful
    calm = unspool.train(training(), estimator, optax.sgd(1e-3), num_updates=20, key=KEY)
    assert sum(record.dropped for record in calm) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"horizon": 0}, "horizon must be an integer of at least 1, got 0"),
        ({"lengths": LogUniform(13)}, "shortest must be at most the horizon 12, got 13"),
        ({"lengths": Lengthening(20, 5)}, "first must be at most the horizon 12, got 20"),
        ({"objective": Normalized(ValidLoss(), 0.0)}, "unit must be a finite number above 0"),
        ({"objective": Logarithm(ValidLoss(), -1.0)}, "epsilon must be a finite number above 0"),
    ],
)
def test_what_does_not_fit_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        training(**options)


def test_a_model_with_hyperparameters_is_no_task():
    from unspool.problems.schedules import Constant

    model = Model(lambda key: jnp.zeros(1), distance, space={"l2": Constant(0.1)})
    with pytest.raises(ValueError, match="must have an empty space, got l2"):
        Task(model, Data(POINTS))


def joined():
    """Two tasks whose states and lengths differ."""
    wide = Model(lambda key: {"w": jnp.zeros(3), "v": jnp.ones(2)}, spread)
    return training(), training(task=Task(wide, Data(POINTS, POINTS, 2)), lengths=LogUniform(3))


def spread(weights, batch):
    return jnp.sum((weights["w"] - jnp.mean(batch)) ** 2) + jnp.sum((weights["v"] - 2.0) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [unspool.Chunked(unspool.PES(4, 3, 0.1), 3), unspool.TBPTT(4, 3)],
    ids=lambda x: type(x).__name__,
)
def test_one_gradient_of_several_tasks_is_the_mean_of_theirs(estimator, float64):
    parts = joined()
    engine, params = unspool.JointProblem(parts), start(parts[0])
    state = estimator.init(engine, params, key=KEY)
    apart = [(part,) for part in state]
    for _ in range(3):
        found, state = estimator.estimate(engine, params, state)
        each = []
        for index, part in enumerate(parts):
            estimate, apart[index] = estimator.estimate(part, params, apart[index])
            each.append(ravel_pytree(estimate.grad)[0])
        joint = ravel_pytree(found.grad)[0]
        assert jnp.allclose(joint, sum(each) / 2, rtol=1e-12)
        assert not jnp.allclose(joint, each[0], rtol=1e-3)
    for joint, (alone,) in zip(state, apart, strict=True):
        assert eqx.tree_equal(joint, alone, rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_an_evaluation_of_several_tasks_is_the_mean_of_theirs():
    parts, params = joined(), start(training())
    each = [unspool.evaluate(part, params, key=KEY, num_episodes=400) for part in parts]
    found = unspool.evaluate(unspool.JointProblem(parts), params, key=KEY, num_episodes=400)
    # Each has episodes of its own, so that the two means differ by their errors.
    errors = math.hypot(*(float(e.standard_error) for e in each)) / 2
    difference = float(found.loss) - sum(float(e.loss) for e in each) / 2
    assert 0 < abs(difference) < 4 * math.sqrt(2) * errors
    assert float(found.standard_error) == pytest.approx(errors, rel=0.2)
    alone = unspool.evaluate(unspool.JointProblem(parts[:1]), params, key=KEY, num_episodes=400)
    assert alone.loss == each[0].loss


def test_several_tasks_are_trained_counted_and_resumed(tmp_path):
    engine = unspool.JointProblem(joined())
    estimator, adam = unspool.NRES(4, 3, 0.01), optax.adam(1e-2)
    options = dict(num_updates=20, key=KEY, log_every=10, checkpoint_every=10)
    run = unspool.Run.create(tmp_path / "run", {"label": "x"})
    last = list(run.train(engine, estimator, adam, **options))[-1]
    assert last.steps == 20 * 2 * estimator.plan(12).num_steps
    assert (
        last.warmup_steps
        == 2 * estimator.plan(12).num_steps * 3
        == run.read_metrics()[0].warmup_steps
    )
    final = (tmp_path / "run" / "checkpoints" / "20.npz").read_bytes()
    list(run.train(engine, estimator, adam, resume_from=10, **options))
    assert (tmp_path / "run" / "checkpoints" / "20.npz").read_bytes() == final


def test_problems_that_cannot_be_joined_are_refused():
    with pytest.raises(ValueError, match="at least, got none"):
        unspool.JointProblem([])
    with pytest.raises(ValueError, match=r"one horizon, got \[12, 9\]"):
        unspool.JointProblem([training(), training(horizon=9)])
    mixed = unspool.JointProblem([training(), problems.Cubic(horizon=12)])
    with pytest.raises(KeyError, match="level"):
        unspool.NRES(4, 3, 0.1).init(mixed, start(training()), key=KEY)
    one = unspool.JointProblem([training()])
    found = unspool.NRES(4, 3, 0.1).init(one, start(training()), key=KEY)
    assert eqx.tree_equal(
        found, unspool.NRES(4, 3, 0.1).init(training(), start(training()), key=KEY)
    )


def test_fixed_lengths_are_the_horizon():
    assert Fixed().mean(7) == 7 and Fixed().episodes(7) == unspool.Episodes()


SCRIPT = """
import sys
import jax, optax, unspool
sys.path.insert(0, {tests!r})
from test_optimizer_training import training
run = {make}
options = dict(num_updates=400, key=jax.random.key(0), log_every=5, checkpoint_every=50)
for record in run.train(training(), unspool.NRES(4, 3, 0.01), optax.adam(1e-2), **options):
    print(record.update, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path, start_program, finish):
    """After every record it waits for a line, so that it is killed at the same one everywhere."""

    def start(name, make, **settings):
        tests, path = os.path.dirname(__file__), str(tmp_path / name)
        program = SCRIPT.format(tests=tests, make=make.format(path))
        return start_program("-c", program, **settings)

    def complete(*arguments):
        process = start(*arguments, stdin=subprocess.DEVNULL)
        _, error = finish(process)
        assert process.returncode == 0, error

    create, reopen = "unspool.Run.create({!r}, {{}})", "unspool.Run.open({!r})"
    complete("whole", create)
    process = start("cut", create)
    while int(process.stdout.readline()) < 120:
        print(file=process.stdin, flush=True)
    process.kill()
    process.wait()
    assert unspool.Run.open(tmp_path / "cut").checkpoints == [0, 50, 100]
    complete("cut", reopen)
    last = [(tmp_path / name / "checkpoints" / "400.npz").read_bytes() for name in ("whole", "cut")]
    assert last[0] == last[1]
    whole, cut = (unspool.Run.open(tmp_path / name).read_metrics() for name in ("whole", "cut"))
    assert all(replace(x, seconds=y.seconds) == y for x, y in zip(whole, cut, strict=True))


@pytest.mark.slow
def test_hours_of_work_are_never_unsaved(tmp_path, monkeypatch):
    clock = iter(np.arange(0.0, 1e6, 250.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    run = unspool.Run.create(tmp_path / "run", {"label": "x"})
    options = dict(num_updates=60, key=KEY, log_every=5, checkpoint_every=30)
    seen = []
    for _ in run.train(training(), unspool.NRES(4, 3, 0.01), optax.adam(1e-2), **options):
        seen.append(run.checkpoints)
    assert run.checkpoints == [0, 30, 60]
    between = sorted({update for known in seen for update in known} - {0, 30, 60})
    assert between and all(len(known) <= 4 for known in seen)
