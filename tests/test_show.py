"""What is printed of estimators, problems and results is short, and says the numbers."""

import inspect
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from unspool import data, problems, records

SETTINGS = {"num_workers": 8, "window": 3, "period": 6, "sigma": 0.01}
ESTIMATORS = {
    name: thing
    for name, thing in inspect.getmembers(unspool)
    if inspect.isclass(thing)
    and issubclass(thing, unspool.AbstractEstimator)
    and not inspect.isabstract(thing)
    and thing is not unspool.Chunked
}
PROBLEM = problems.Cubic(horizon=6)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_an_estimator_is_printed_as_it_is_called(name):
    arguments = inspect.signature(ESTIMATORS[name].__init__).parameters
    given = {argument: value for argument, value in SETTINGS.items() if argument in arguments}
    written = ", ".join(f"{argument}={value}" for argument, value in given.items())
    assert repr(ESTIMATORS[name](**given)) == f"{name}({written})"


@pytest.mark.parametrize(
    "sigma, text",
    [
        (1e-5, "1e-05"),
        ({"rate": 0.1, "scale": np.array([1.0, 0.5])}, "{'rate': 0.1, 'scale': [1.0, 0.5]}"),
        (jnp.full(7, 0.1), "f32[7]"),
        (jnp.array(0.25, jnp.bfloat16), "0.25"),
        (optax.linear_schedule(0.1, 0.01, 9), "<function polynomial_schedule.<locals>.schedule>"),
    ],
    ids=["small", "tree", "long", "bfloat16", "schedule"],
)
def test_a_sigma_is_printed_by_its_numbers_while_they_are_few(sigma, text):
    assert repr(unspool.NRES(8, 3, sigma)).endswith(f"sigma={text})")


def test_a_number_that_is_being_traced_is_printed_as_its_type():
    printed = []

    @jax.jit
    def run(sigma):
        estimator = unspool.NRES(8, 3, sigma)
        printed.append(repr(estimator))
        return sigma

    run(jnp.array(0.1))
    assert printed == ["NRES(num_workers=8, window=3, sigma=f32[])"]


@pytest.mark.parametrize(
    "thing, text",
    [
        (unspool.Chunked(unspool.PES(8, 3, 0.1), 4),
         "Chunked(estimator=PES(num_workers=8, window=3, sigma=0.1), workers_at_once=4)"),
        (PROBLEM, "Cubic(horizon=6)"),
        (problems.Cubic(), "Cubic()"),
        (unspool.JointProblem([PROBLEM]),
         "JointProblem(engines=(LocalEngine(problem=Cubic(horizon=6)),))"),
        (unspool.Target(3, sigma=jnp.array(0.1)), "Target(window=3, sigma=0.1)"),
        (unspool.Episodes(), "Episodes()"),
        (unspool.Memory(2048, 10, None), "Memory(state=2 KiB, work=10 B)"),
        (data.Dataset(np.zeros((9, 2)), np.array([1, 2])),
         "Dataset(inputs=f64[9,2], targets=[1, 2])"),
        (unspool.TrainConfig(problem=unspool.Spec("cubic"), estimator=unspool.Spec("bptt")),
         "TrainConfig(problem=Spec(name='cubic'), estimator=Spec(name='bptt'))"),
    ],
    ids=lambda thing: type(thing).__name__,
)  # fmt: skip
def test_what_is_as_by_default_is_left_out(thing, text):
    assert repr(thing) == text


def words(thing):
    return " ".join(repr(thing).split())


def written(params):
    return "{" + ", ".join(f"{name!r}: {np.asarray(x)!s}" for name, x in params.items()) + "}"


def make_records():
    job = PROBLEM, unspool.BPTT(), optax.sgd(0.01)
    return list(unspool.train(*job, num_updates=4, key=jax.random.key(0), log_every=2))


def test_a_record_is_one_line_and_a_table():
    first, last = make_records()
    seconds = f"{last.seconds:.3g}"
    loss, norm, params = f"{last.loss:.6g}", f"{last.grad_norm:.6g}", written(last.params)
    assert repr(last) == (
        f"Record(update=4, loss={loss}, grad_norm={norm}, seconds={seconds}, steps=24, "
        f"warmup_steps=0, params={params})"
    )
    assert repr(last.state) == f"TrainState(update=4, params={params})"
    # Its buffers were given to the next updates.
    assert repr(first.state) == "TrainState(update=i32[], params={'level': f32[], 'slope': f32[]})"
    assert f'<td style="text-align: left">{loss}</td>' in last._repr_html_()
    many = last._replace(params={f"layer {i}": np.zeros((400, 3)) for i in range(10)}, dropped=3)
    many = many._replace(result=unspool.RESULTS.dropped_workers)
    assert repr(many).endswith("dropped=3, result=dropped_workers, params=<12,000 numbers>)")
    assert "&lt;12,000 numbers&gt;" in many._repr_html_()


def test_an_estimate_and_an_evaluation_are_printed_by_their_numbers(key):
    estimator, params = unspool.BPTT(), PROBLEM.init_params(key=key)
    estimate, _ = estimator.estimate(PROBLEM, params, estimator.init(PROBLEM, params, key=key))
    grad = written(estimate.grad)
    assert f"grad={grad}, loss={np.asarray(estimate.loss)!s}, result=successful" in words(estimate)
    shapes = eqx.filter_eval_shape(lambda: estimate)
    assert "loss=f32[], result=RESULTS" in words(shapes)
    found = unspool.Evaluation(jnp.array(1.25), jnp.array(jnp.nan), 1)
    assert repr(found) == "Evaluation(loss=1.25, standard_error=nan, num_episodes=1)"
    assert repr(found._replace(dropped=1)).endswith("num_episodes=1, dropped=1)")
    assert "1.25" in found._repr_html_()


def test_a_bias_test_says_its_verdict_and_both_gradients(key):
    test = unspool.check_unbiased(PROBLEM, unspool.BPTT(), key=key, num_chains=30)
    assert re.fullmatch(
        r"BiasTest\(verdict='unbiased', reason='.+', p_value=1, mean=\[\S+, \S+\], "
        r"reference=\[\S+, \S+\], standard_error=\[\S+, \S+\], num_chains=30, dropped=0\)",
        repr(test),
    )
    assert "standard error" in test._repr_html_()


def test_a_run_is_printed_with_its_state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = unspool.Spec
    config = unspool.TrainConfig(
        problem=spec("cubic"), estimator=spec("bptt"), num_updates=2, num_episodes=1
    )
    training = unspool.build_training(config)
    assert repr(training) == (
        "Training(problem=Cubic(), estimator=BPTT(), "
        "optimizer=Spec(name='optax:adam', options="
        f"{training.config.optimizer.options}))"
    )
    *_, last = unspool.train_run(config, "runs/first")
    run = unspool.Run.open("runs/first")
    evaluated = f"{run.read_evaluations()[-1].loss:.6g}"
    assert repr(run) == (
        f"Run(directory='runs/first', state=finished, update=2 of 2, loss={last.loss:.6g}, "
        f"evaluated={evaluated})"
    )
    assert '<td style="text-align: left">runs/first</td>' in run._repr_html_()
    assert repr(records.read_run("runs/first")) == (
        "<LoggedRun runs/first: BPTT on Cubic, seed 0, finished, 2 updates>"
    )
    run.finish("failed", "no memory")
    assert "state=failed: no memory" in repr(run)
    (run.directory / "metrics.jsonl").write_text("?\n{}\n")
    assert repr(run).startswith("Run(directory='runs/first', state=failed")
