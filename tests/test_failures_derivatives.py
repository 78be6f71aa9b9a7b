"""A worker without a finite derivative is left out alone, and the others speak for all."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.failures import KEY
from support.slow import slow
from unspool._random import Purpose, stream
from unspool._results import name_result

pytestmark = pytest.mark.usefixtures("float64")

SOUND, NO_DERIVATIVE, NO_START, NO_LOSS, SILENT = range(5)


class Kinds(unspool.AbstractProblem):
    """Each worker's first episode is of a kind of its own."""

    draws: jax.Array
    kinds: jax.Array
    horizon: int = 3

    def init_params(self, *, key):
        return jnp.array([0.7, 1.3])

    def init_state(self, params, *, key):
        draw = jax.random.uniform(key)
        kind = self.kinds[jnp.argmin(jnp.abs(self.draws - draw))]
        level = jnp.where(kind == NO_DERIVATIVE, 0.0, 1.0 + draw)
        root = jnp.sqrt(params[0] * jnp.where(kind == NO_START, 0.0, draw))
        return {"level": level, "kind": kind, "x": root}

    def step(self, params, state, t, *, key):
        x = jnp.sin(state["x"] + params[1] * state["level"]) + params[0]
        loss = x**2 + jnp.sqrt(params[1] * state["level"])
        loss = jnp.where(state["kind"] == SILENT, 0.0 * loss, loss)
        loss = jnp.where(state["kind"] == NO_LOSS, jnp.nan, loss)
        return state | {"x": x}, loss


DERIVATIVES = {
    "RTRL": unspool.RTRL(12, 3),
    "PESAnalytic": unspool.PESAnalytic(12, 3, 0.01),
    "Chunked": unspool.Chunked(unspool.TBPTT(12, 3), 5),
}
PATTERNS = {
    "none": [],
    "worker 0": [(0, NO_DERIVATIVE)],
    "the last worker": [(11, NO_START)],
    "several": [(i, NO_START if i % 2 else NO_DERIVATIVE) for i in (1, 2, 5, 7, 8)],
    "losses": [(0, NO_LOSS), (4, NO_LOSS)],
    "both": [(0, NO_START), (3, NO_LOSS), (6, NO_DERIVATIVE), (11, NO_LOSS)],
    "all but one": [(i, NO_DERIVATIVE if i % 2 else NO_LOSS) for i in range(12) if i != 6],
    "all derivatives": [(i, NO_DERIVATIVE) for i in range(12)],
    "all losses": [(i, NO_LOSS) for i in range(12)],
    "all of either": [(i, NO_DERIVATIVE if i < 6 else NO_LOSS) for i in range(12)],
}


def of_kinds(count, spoilt):
    """A problem whose workers' first episodes are of these kinds, in order."""
    state = unspool.BPTT(count).init(Kinds(jnp.zeros(1), jnp.zeros(1, int)), jnp.ones(2), key=KEY)
    # Episodes before these have been given to workers that are to begin at once.
    keys = state[0].data_keys(state[0].next_episodes(state[0].each.episode))
    draws = jax.vmap(lambda key: jax.random.uniform(stream(key, Purpose.START)))(keys)
    kinds = np.full(count, SOUND)
    for worker, kind in spoilt:
        kinds[worker] = kind
    return Kinds(draws, jnp.array(kinds))


def by_hand(problem):
    """Each worker's gradient and loss per step, worker after worker."""

    def total(params, draw):
        state, sum_ = {"level": 1.0 + draw, "kind": SOUND, "x": jnp.sqrt(params[0] * draw)}, 0.0
        for t in range(3):
            state, loss = problem.step(params, state, t, key=KEY)
            sum_ += loss
        return sum_ / 3

    one = jax.jit(jax.value_and_grad(total))
    params = problem.init_params(key=KEY)
    losses, grads = zip(*[one(params, draw) for draw in problem.draws], strict=True)
    return np.stack(losses), np.stack(grads)


@pytest.mark.parametrize("name", [slow(name, when=name == "Chunked") for name in DERIVATIVES])
def test_one_workers_derivative_is_its_own_fault(name):
    estimator = DERIVATIVES[name]
    params = jnp.array([0.7, 1.3])

    @eqx.filter_jit
    def estimate(problem):
        state = estimator.init(problem, params, key=KEY)
        return estimator.estimate(problem, params, state)

    problem = of_kinds(12, [])
    losses, grads = by_hand(problem)
    for pattern, spoilt in PATTERNS.items():
        kinds = dict(spoilt)
        found, after = estimate(of_kinds(12, spoilt))
        left = np.array([i for i in range(12) if i not in kinds], int)
        lost = sum(kind == NO_LOSS for kind in kinds.values())
        assert found.stats["dropped"] == len(kinds) and found.stats["waiting"] == 0, pattern
        assert np.array_equal(np.flatnonzero(after[0].failed), sorted(kinds)), pattern
        # Without its guess a worker of PESAnalytic has no estimate: it is dropped, and no more.
        assert found.stats.get("uncontrolled", 0) == 0, pattern
        if not left.size:
            expected = "all_workers_dropped" if lost else "nonfinite_gradient"
            assert name_result(found.result) == expected, pattern
            continue
        expected = "dropped_workers" if lost else "dropped_derivatives" if kinds else "successful"
        assert name_result(found.result) == expected, pattern
        # Workers without a loss have no gradient, whatever their noise: what is left of the sum.
        silent, _ = estimate(of_kinds(12, [(i, SILENT) for i in kinds]))
        expected = np.asarray(silent.grad) * 12 / left.size
        np.testing.assert_allclose(found.grad, expected, rtol=1e-9, err_msg=pattern)
        if name in ("RTRL", "Chunked"):
            np.testing.assert_allclose(found.grad, grads[left].mean(0), rtol=1e-9)
            assert not np.allclose(grads[left].mean(0), grads.mean(0), rtol=1e-3) or not kinds
        if name != "PESAnalytic":
            np.testing.assert_allclose(found.loss, losses[left].mean(), rtol=1e-9)


@pytest.mark.parametrize("kind", [SOUND, NO_DERIVATIVE, NO_LOSS])
def test_the_only_worker(kind):
    problem, estimator, params = of_kinds(1, [(0, kind)]), unspool.BPTT(1), jnp.array([0.7, 1.3])
    found, _ = estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))
    expected = {
        SOUND: "successful",
        NO_DERIVATIVE: "nonfinite_gradient",
        NO_LOSS: "all_workers_dropped",
    }
    assert name_result(found.result) == expected[kind]
    assert found.stats["dropped"] == (kind != SOUND)


@pytest.mark.parametrize(
    "control", [unspool.WindowGradientControl(), unspool.FittedWindowControl()]
)
def test_a_control_that_is_not_finite_is_left_out_and_counted(control):
    """The pair beside it goes on: what it estimates owes the control nothing but its variance."""
    estimator = unspool.ControlledGPES(12, 3, 3, 0.01, control=control)
    params = jnp.array([0.7, 1.3])
    spoilt = {0: NO_DERIVATIVE, 5: NO_START, 7: NO_LOSS}
    problem = of_kinds(12, list(spoilt.items()))
    state = estimator.init(problem, params, key=KEY)
    found, after = estimator.estimate(problem, params, state)
    assert found.stats["uncontrolled"] == 2 and found.stats["dropped"] == 1
    assert np.flatnonzero(after[0].failed).tolist() == [7]
    assert jnp.all(jnp.isfinite(found.grad))
    # Where there is no control at all it is the estimate of its sibling.
    all_spoilt = of_kinds(12, [(i, NO_DERIVATIVE) for i in range(12)])
    grads = []
    for one in (estimator, unspool.GPES(12, 3, 3, 0.01)):
        state = one.init(all_spoilt, params, key=KEY)
        grads.append(one.estimate(all_spoilt, params, state)[0].grad)
    np.testing.assert_allclose(*grads, rtol=1e-9)


class Steep(unspool.AbstractProblem):
    """Bounded losses, with derivatives whose squares overflow."""

    horizon: int = 3

    def init_params(self, *, key):
        return jnp.array([0.7, 1.3])

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, jnp.sin(1e200 * params[0]) + params[1] ** 2


def test_a_control_that_is_too_steep_to_use_is_left_out_and_counted():
    params, grads = jnp.array([0.7, 1.3]), []
    for estimator in (unspool.ControlledNRES(4, 3, 0.01), unspool.NRES(4, 3, 0.01)):
        state = estimator.init(Steep(), params, key=KEY)
        for _ in range(3):
            found, state = estimator.estimate(Steep(), params, state)
            assert found.stats["dropped"] == 0 and found.stats.get("uncontrolled", 4) == 4
        grads.append(found.grad)
    np.testing.assert_allclose(*grads, rtol=1e-9)
