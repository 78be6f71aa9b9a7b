"""What every estimator owes its users besides the right mean."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import problems
from unspool.extend import AbstractInfluence

ESTIMATORS = {
    "FullES": unspool.FullES(4, 0.1),
    "TruncatedES": unspool.TruncatedES(4, 3, 0.1),
    "PES": unspool.PES(4, 3, 0.1),
    "GPES": unspool.GPES(4, 6, 3, 0.1),
    "NRES": unspool.NRES(4, 3, 0.1),
    "ReweightedNRES": unspool.ReweightedNRES(4, 3, 0.1),
    "ESSingle": unspool.ESSingle(4, 3, 0.1),
    "PESAnalytic": unspool.PESAnalytic(4, 3, 0.1),
    "ControlledGPES": unspool.ControlledGPES(4, 3, 6, 0.1),
    "ControlledNRES": unspool.ControlledNRES(4, 3, 0.1),
    "DODGE": unspool.DODGE(4, 3),
    "ForwardGradient": unspool.ForwardGradient(4, 3),
    "BPTT": unspool.BPTT(2),
    "ARTBP": unspool.ARTBP(2, 0.1),
    "TBPTT": unspool.TBPTT(4, 3),
    "RTRL": unspool.RTRL(4, 3),
    "UORO": unspool.UORO(4, 3),
    "LowRankUORO": unspool.LowRankUORO(4, 3),
    "KFRTRL": unspool.KFRTRL(4, 3),
    "OK": unspool.OK(4, 3, 2),
    "SnAp1": unspool.SnAp1(4, 3),
    "ElementwiseRTRL": unspool.ElementwiseRTRL(4, 3),
    "Chunked": unspool.Chunked(unspool.PES(4, 3, 0.1), 3),
}
# They differ from others here in where workers start, how long a direction is kept, the control,
# what passes back, or how much is left out.
SLOW = {"BPTT", "ControlledGPES", "ESSingle", "ForwardGradient", "FullES", "GPES", "PESAnalytic"}
SLOW |= {"ARTBP", "LowRankUORO", "KFRTRL", "ElementwiseRTRL"}
# One estimator's tests run in one process, where they share compiled programs.
every_estimator = pytest.mark.parametrize(
    "estimator",
    [
        slow(e, id=name, when=name in SLOW, marks=[pytest.mark.xdist_group(name)])
        for name, e in ESTIMATORS.items()
    ],
)


# Noted by methods of what is built in, which a traced function may call and stay the same.
TRACES, STEPS = [], []
note_trace, note_steps = TRACES.append, STEPS.append


class CountingEngine(unspool.LocalEngine):
    """Notes the steps that it is asked to run."""

    def unroll(self, params, trajectories, num_steps, shift=None):
        after, losses = super().unroll(params, trajectories, num_steps, shift)
        # With the clock in it, or it would be taken out of a loop that is differentiated.
        count = num_steps * trajectories.arms.done.size + 0 * after.clock.t[0]
        jax.debug.callback(note_steps, count)
        return after, losses


class Motley(unspool.AbstractProblem):
    """Parameters in a tree, and a state of floats, integers, booleans and keys."""

    horizon: int = 12
    fails_above: jax.Array = eqx.field(default=float("inf"), converter=jnp.asarray)

    def init_params(self, *, key):
        return {"rate": jnp.array(0.5), "push": (jnp.ones(2), jnp.zeros((2, 3)))}

    def init_state(self, params, *, key):
        start = jnp.sum(params["push"][0]) * jnp.ones(3)
        return {"x": start, "count": jnp.array(0), "odd": jnp.array(False), "key": key}

    def step(self, params, state, t, *, key):
        note_trace(t)
        x = params["rate"] * state["x"] + params["push"][0] @ params["push"][1]
        x = x + 0.1 * jax.random.normal(state["key"], (3,))
        count = state["count"] + 1
        loss = jnp.where(x[0] > self.fails_above, jnp.nan, jnp.sum(x**2) + state["odd"])
        return {"x": x, "count": count, "odd": count % 2 == 1, "key": state["key"]}, loss


NEED_DERIVATIVES = {"BPTT", "DODGE", "RTRL", "UORO", "TBPTT", "ForwardGradient"}
NEED_DERIVATIVES |= {"ARTBP", "LowRankUORO"}
NEED_DERIVATIVES |= {"ControlledGPES", "ControlledNRES", "PESAnalytic"}
NEED_DERIVATIVES |= {"KFRTRL", "OK", "SnAp1", "ElementwiseRTRL"}
one_of_each_kernel = pytest.mark.parametrize(
    "estimator",
    [
        slow(
            ESTIMATORS[name],
            id=name,
            when=name in {"DODGE", "UORO"},
            marks=[pytest.mark.xdist_group(name)],
        )
        for name in ("NRES", "DODGE", "TBPTT", "UORO")
    ],
)


def run(estimator, problem, num_estimates=5, seed=0):
    params = problem.init_params(key=jax.random.key(0))
    engine = CountingEngine(problem)
    state = estimator.init(engine, params, key=jax.random.key(seed))
    estimates = []
    for _ in range(num_estimates):
        estimate, state = estimator.estimate(engine, params, state)
        estimates.append(estimate)
    return estimates, state


@every_estimator
def test_states_and_parameters_are_any_trees(estimator):
    estimates, _ = run(estimator, Motley())
    params = Motley().init_params(key=jax.random.key(0))
    for estimate in estimates:
        assert jax.tree.structure(estimate.grad) == jax.tree.structure(params)
        shapes = jax.tree.map(
            lambda g, p: (g.shape, g.dtype) == (p.shape, p.dtype), estimate.grad, params
        )
        assert all(jax.tree.leaves(shapes))
        assert jnp.isfinite(estimate.stats["grad_norm"])
        assert estimate.result == unspool.RESULTS.successful
    assert float(jnp.abs(estimates[-1].grad["rate"])) > 0


@every_estimator
def test_the_same_seed_gives_the_same_bits_and_another_does_not(estimator):
    first, _ = run(estimator, Motley())
    again, _ = run(estimator, Motley())
    other, _ = run(estimator, Motley(), seed=1)
    for one, two in zip(first, again, strict=True):
        assert eqx.tree_equal(one.grad, two.grad)
    assert not eqx.tree_equal(first[-1].grad, other[-1].grad)


@every_estimator
def test_nothing_is_traced_twice(estimator):
    params = Motley().init_params(key=jax.random.key(0))
    weak = params | {"rate": 0.5 * jnp.array(1.0)}
    _, state = run(estimator, Motley(), num_estimates=1)
    TRACES.clear()
    for fails_above in (float("inf"), 3.0, 4.0):
        engine = CountingEngine(Motley(fails_above=fails_above))
        _, state = estimator.estimate(engine, weak, state)
    assert not TRACES
    jax.eval_shape(lambda state: estimator.estimate(engine, params, state)[1], state)
    assert TRACES


@one_of_each_kernel
def test_everything_can_be_called_inside_of_jit_and_vmap(estimator):
    params = Motley().init_params(key=jax.random.key(0))

    @jax.jit
    @jax.vmap
    def estimate_from(seed):
        state = estimator.init(Motley(), params, key=jax.random.key(seed))
        return estimator.estimate(Motley(), params, state)[0].grad

    _, state = run(estimator, Motley(), num_estimates=0)
    eagerly, _ = estimator.estimate(Motley(), params, state)
    compiled = estimate_from(jnp.arange(2))
    for one, two in zip(jax.tree.leaves(compiled), jax.tree.leaves(eagerly.grad), strict=True):
        np.testing.assert_allclose(one[0], two, rtol=1e-4, atol=1e-5)


@one_of_each_kernel
def test_float64_goes_in_and_comes_out(estimator, float64):
    estimates, _ = run(estimator, Motley())
    assert {leaf.dtype for leaf in jax.tree.leaves(estimates[0].grad)} == {np.dtype("float64")}


@every_estimator
def test_num_steps_is_what_the_engine_is_asked_to_run(estimator):
    _, state = run(estimator, Motley(), num_estimates=0)
    jax.effects_barrier()
    STEPS.clear()
    _, state = run(estimator, Motley(), num_estimates=0)
    jax.effects_barrier()
    per_estimate = estimator.plan(12).num_steps
    assert sum(STEPS) == estimator.plan(12).num_warmup_windows * per_estimate
    STEPS.clear()
    engine, params = CountingEngine(Motley()), Motley().init_params(key=jax.random.key(0))
    estimate, _ = estimator.estimate(engine, params, state)
    jax.block_until_ready(estimate)
    jax.effects_barrier()
    assert sum(STEPS) == per_estimate
    # Nobody waits, and no episode ends within a window.
    assert int(estimate.stats["useful_steps"]) == per_estimate


@every_estimator
def test_a_worker_that_fails_is_dropped_counted_and_waits_for_its_next_episode(estimator):
    estimates, _ = run(estimator, Motley(fails_above=1.1), num_estimates=12)
    dropped = [int(estimate.stats["dropped"]) for estimate in estimates]
    assert sum(dropped) > 0
    for estimate, count in zip(estimates, dropped, strict=True):
        if count + int(estimate.stats["waiting"]) == estimator.num_workers:
            assert estimate.result == unspool.RESULTS.all_workers_dropped
        else:
            assert jnp.isfinite(estimate.stats["grad_norm"])
            expected = unspool.RESULTS.dropped_workers if count else unspool.RESULTS.successful
            assert estimate.result == expected


@every_estimator
def test_a_state_that_was_saved_goes_on_to_the_same_bits(estimator, tmp_path):
    params = Motley().init_params(key=jax.random.key(0))
    _, state = run(estimator, Motley())
    unspool.save_checkpoint(tmp_path / "state.npz", state)
    loaded = unspool.load_checkpoint(tmp_path / "state.npz", state)
    assert eqx.tree_equal(loaded, state)
    engine = CountingEngine(Motley())
    for _ in range(4):
        estimate, state = estimator.estimate(engine, params, state)
        again, loaded = estimator.estimate(engine, params, loaded)
        assert eqx.tree_equal((again.grad, loaded), (estimate.grad, state))


@one_of_each_kernel
def test_the_number_of_workers_that_run_at_once_changes_no_more_than_rounding(estimator):
    params = Motley().init_params(key=jax.random.key(0))
    grads = []
    for workers_at_once in (None, 3):
        engine = unspool.LocalEngine(Motley(), workers_at_once=workers_at_once)
        state = estimator.init(engine, params, key=jax.random.key(0))
        for _ in range(3):
            estimate, state = estimator.estimate(engine, params, state)
        grads.append(estimate.grad)
    close = jax.tree.map(lambda x, y: np.allclose(x, y, rtol=1e-3, atol=1e-3), *grads)
    assert all(jax.tree.leaves(close))


@pytest.mark.parametrize(
    ("name", "fails_above", "num_dropped"), [("NRES", 1.0, 1), slow("TBPTT", float("inf"), 0)]
)
def test_chunks_change_no_more_than_rounding(name, fails_above, num_dropped):
    whole, problem = ESTIMATORS[name], Motley(fails_above=fails_above)
    params = problem.init_params(key=jax.random.key(0))
    runs = []
    for estimator in (whole, unspool.Chunked(whole, 3)):
        state, found = estimator.init(problem, params, key=jax.random.key(0)), []
        for _ in range(3):
            estimate, state = estimator.estimate(problem, params, state)
            found.append((estimate.grad, estimate.loss, estimate.stats))
        runs.append((found, state[0].each.episode))
    assert sum(stats["dropped"] for *_, stats in runs[0][0]) == num_dropped
    close = jax.tree.map(lambda x, y: np.allclose(x, y, rtol=1e-4, atol=1e-4), *runs)
    assert all(jax.tree.leaves(close))


def test_a_row_that_would_end_within_a_stretch_is_not_passed_off_as_sound():
    engine = unspool.LocalEngine(problems.Cubic(horizon=12))
    params = engine.init_params(key=jax.random.key(0))
    rows = engine.start(params, jax.random.split(jax.random.key(0), 2))
    half, _ = engine.unroll(params, rows, 6)
    whole, losses = engine.unroll(params, half, 6)
    assert jnp.all(jnp.isfinite(losses)) and jnp.all(whole.arms.done)
    frozen, losses = engine.unroll(params, whole, 6)
    assert eqx.tree_equal(frozen.arms.state, whole.arms.state) and jnp.all(losses == 0)
    past, losses = engine.unroll(params, half, 12)
    assert jnp.all(jnp.isnan(losses)) and jnp.all(past.arms.done)


@pytest.mark.parametrize("name", sorted(NEED_DERIVATIVES))
def test_an_engine_without_derivatives_is_refused(name):
    class Blind(unspool.LocalEngine):
        differentiable = False

    problem = Motley()
    params = problem.init_params(key=jax.random.key(0))
    with pytest.raises(ValueError, match=f"{name} needs derivatives.*NRES"):
        ESTIMATORS[name].init(Blind(problem), params, key=jax.random.key(0))
    unspool.NRES(4, 3, 0.1).init(Blind(problem), params, key=jax.random.key(0))


class Stateless(unspool.AbstractProblem):
    """Nothing is carried from step to step."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.array([1.0, 2.0])

    def init_state(self, params, *, key):
        return ()

    def step(self, params, state, t, *, key):
        return state, jnp.sum(params**2) * (t + 1)


# It is the kernels that carry states: one of each.
CARRIES = {"NRES", "UORO", "BPTT", "RTRL"}


@pytest.mark.parametrize(
    "estimator", [slow(e, id=name, when=name not in CARRIES) for name, e in ESTIMATORS.items()]
)
def test_a_state_may_be_empty(estimator):
    if isinstance(estimator, AbstractInfluence):
        with pytest.raises(ValueError, match="needs a state with floating point numbers"):
            run(estimator, Stateless())
    else:
        estimates, _ = run(estimator, Stateless())
        assert float(jnp.sum(estimates[0].grad)) != 0


def test_nres_holds_nothing_of_the_size_of_the_parameters():
    params, sizes = Motley().init_params(key=jax.random.key(0)), {}
    for name in ("NRES", "FullES", "PES"):
        init_workers = lambda key, name=name: ESTIMATORS[name].init_workers(Motley(), params, key)
        carried = jax.tree.leaves(jax.eval_shape(init_workers, jax.random.key(0))[0].carried)
        sizes[name] = sum(x.size for x in carried if jnp.issubdtype(x.dtype, jnp.inexact))
    assert sizes == {"NRES": 0, "FullES": 0, "PES": 4 * 9}


def test_full_windows_make_truncated_estimators_exact(float64):
    problem = problems.LearnedStart(horizon=9)
    params = problem.init_params(key=jax.random.key(0))
    exact = problem.exact_gradient(params, unspool.Target())
    for estimator in (unspool.BPTT(4), unspool.TBPTT(4, 9), unspool.TBPTT(4, 100)):
        state = estimator.init(problem, params, key=jax.random.key(0))
        estimate, _ = estimator.estimate(problem, params, state)
        np.testing.assert_allclose(estimate.grad, exact, rtol=1e-12)


class Wrong(Motley):
    """A problem with one thing wrong with it."""

    what: str = "nothing"

    def step(self, params, state, t, *, key):
        state, loss = super().step(params, state, t, key=key)
        if self.what == "vector loss":
            return state, state["x"]
        if self.what == "no loss":
            return state
        if self.what == "state grows":
            return state | {"x": jnp.append(state["x"], 0.0)}, loss
        if self.what == "state changes type":
            return state | {"count": state["count"] * 1.0}, loss
        if self.what == "state loses a leaf":
            return {"x": state["x"]}, loss
        return state, loss


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("vector loss", r"loss.*real scalar of shape \(\), got float32\[3\]"),
        ("no loss", r"pair \(state, loss\), got dict"),
        ("state grows", r"state\['x'\] must keep.*float32\[3\].*float32\[4\]"),
        ("state changes type", r"state\['count'\] must keep.*int32\[\].*float32\[\]"),
        ("state loses a leaf", "structure that init_state returned"),
    ],
)
def test_a_problem_that_cannot_run_is_told_why(what, message):
    problem = Wrong(what=what)
    params = problem.init_params(key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        unspool.NRES(2, 3, 0.1).init(problem, params, key=jax.random.key(0))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (jnp.array([1.0, jnp.nan]), "1 of 2 entries NaN"),
        (jnp.array([1, 2]), "must be an array of real floats, got int32"),
        ({}, "at least one array"),
        (3.0, "must be an array of real floats, got float"),
    ],
)
def test_parameters_must_be_finite_floats(params, message):
    with pytest.raises(ValueError, match=message):
        unspool.evaluate(Motley(), params, key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        unspool.NRES(2, 3, 0.1).init(Motley(), params, key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        unspool.check_unbiased(
            Motley(), unspool.NRES(2, 3, 0.1), params=params, key=jax.random.key(0)
        )
