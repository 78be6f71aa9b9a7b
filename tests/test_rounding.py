"""Perturbations as the parameters' type can hold them: right on average, and noticed if coarse."""

import functools as ft
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from unspool import _rows as rows
from unspool._estimator import rounding
from unspool._estimator.rounding import draw_dither, hold_pair
from unspool._reference import sample_gradients
from unspool._target import Target

KEY = jax.random.key(0)
GRID = 2**14
"""Random numbers that stand for all: evenly spaced, so that a mean over them is an integral."""

EVEN = jnp.arange(GRID, dtype=jnp.uint32) * jnp.uint32(2**32 // GRID)


def spacing(values, kind):
    """How far apart numbers of a type are at most, at and just beside some values."""
    info = jnp.finfo(kind)
    magnitude = np.maximum(np.abs(np.asarray(values, float)), float(info.tiny))
    return float(info.eps) * 2.0 ** np.floor(np.log2(magnitude))


PARAMS = [1.0, 0.999, -1.0, -300.0, 0.0, 1e-3, 3.5, 127.9]
COARSE = {
    "bfloat16": ("bfloat16", [*PARAMS, 1e-37, 3e38 / 4], [1e-4, 0.003, 0.1]),
    "float16": ("float16", [*PARAMS, 65504 / 2, 60000.0, 6e-8], [1e-6, 1e-4, 0.003, 0.1]),
    "float32": ("float32", [1e6, -3e7, 2.0**24, 2.0**24 - 1, 1.7e9], [1e-3, 0.3, 3.0]),
}


@jax.jit
def hold_pairs(params, along, sigma, dither):
    """The shifts of the arms of many pairs, with an axis of arms first."""
    hold = lambda along, dither: hold_pair(params, along, sigma, dither)
    return rows.arms(*jax.vmap(hold)(along, dither))


@ft.cache
def held_everywhere(kind, params, shifts, sigma):
    """The shifts of both arms for every random number of the grid, with an axis of arms first."""
    params = jnp.array(params, kind)
    along = jnp.broadcast_to(jnp.array(shifts), (GRID, len(shifts)))
    held = hold_pairs(params, along, jnp.array(sigma), EVEN)
    return np.asarray(held)


def check_held(kind, params, sigma):
    """Every shift can be held, and their mean over the random numbers is what was asked for."""
    z = np.random.default_rng(0).normal(size=len(params))
    wide = np.float64 if kind == "float64" else np.float32
    shifts = (sigma * z).astype(wide)
    held = held_everywhere(kind, tuple(params), tuple(shifts.tolist()), sigma)
    assert held.dtype == wide and held.shape == (2, GRID, len(params))
    start = np.asarray(jnp.array(params, kind).astype(wide))
    moved = start + held
    # As the engine adds them: exactly what has been asked for.
    added = jax.vmap(ft.partial(rows.add, jnp.array(params, kind)))(jnp.array(held[0]))
    assert added.dtype == kind
    assert np.array_equal(np.asarray(added.astype(wide)), moved[0])
    for arm, sign in enumerate((1, -1)):
        nearest = jnp.array(moved[arm]).astype(kind).astype(wide)
        assert np.array_equal(np.asarray(nearest), moved[arm]), (kind, sigma)
        gap = spacing(np.maximum(np.abs(start), np.abs(start + sign * shifts)), kind)
        # Two neighbors at most, and the mean between them to a step of the grid.
        # A number just below a power of two may be reached from there, and not from beside it.
        assert np.all(np.abs(held[arm] - sign * shifts) <= 2 * gap)
        mean = np.mean(held[arm].astype(np.float64), axis=0)
        slack = 1.5 * gap / GRID + 1e-6 * np.abs(shifts)
        assert np.all(np.abs(mean - sign * shifts.astype(np.float64)) <= slack), (kind, sigma, arm)
    return held, shifts


@pytest.mark.parametrize("name", COARSE)
def test_coarse_parameters_move_by_the_right_amount_on_average(name):
    kind, params, sigmas = COARSE[name]
    for sigma in sigmas:
        held, shifts = check_held(kind, params, sigma)
        # Rounding to the nearest would lose most of these.
        if sigma == sigmas[0]:
            assert np.mean(held == 0) > 0.3


def test_coarse_parameters_in_float64(float64):
    check_held("float64", [1e16, -3e17, 2.0**53, 2.0**53 - 1], 0.7)


@pytest.mark.parametrize(("kind", "params"), [("float32", [1.0, -300.0, 0.0, 1e3, 1e-30])])
def test_where_numbers_are_close_together_nothing_is_moved(kind, params):
    """Not by a bit: the two arms are plus and minus the noise."""
    along = jax.random.normal(KEY, (GRID, len(params))) * 0.01
    held = hold_pairs(jnp.array(params, kind), along, jnp.array(0.01), EVEN)
    assert np.array_equal(held[0], along) and np.array_equal(held[1], -along)


def test_a_tree_is_rounded_as_the_vector_of_its_numbers():
    """So that no two of its leaves are rounded alike."""
    split = lambda x, axis: jnp.split(x, [7, 20, 21], axis=axis)
    params, along = jnp.ones(64, jnp.bfloat16), jnp.full((100, 64), 0.001)
    dither = draw_dither(KEY, jnp.arange(100), jnp.zeros(100, int))
    sigmas = [jnp.array(0.001)] * 4
    whole = hold_pairs(params, along, sigmas[0], dither)
    held = hold_pairs(split(params, 0), split(along, 1), sigmas, dither)
    assert np.array_equal(jnp.concatenate(held, axis=2), whole)


def test_random_numbers_of_births_and_blocks_are_spread_evenly():
    """A step away from even spacing would show in every mean; so would parameters that share."""
    # Of an even step the numbers would come again before all have been there.
    assert all(step % 2 == 1 and step < 2**32 for step in rounding._STEPS)
    episode_ids, blocks = jnp.arange(4096), jnp.full(4096, 3)
    for numbers in (draw_dither(KEY, episode_ids, blocks), draw_dither(KEY, blocks, episode_ids)):
        uniform = np.sort(np.asarray(numbers) / 2.0**32)
        assert np.max(np.abs(uniform - (np.arange(4096) + 0.5) / 4096)) < 3 * np.log(4096) / 4096
    first, other = (np.asarray(draw_dither(k, episode_ids, blocks)) for k in jax.random.split(KEY))
    assert not np.array_equal(first, other)
    # Independent of the parameters' number: held in one direction they would be for equal numbers.
    params, along = jnp.ones(64, jnp.bfloat16), jnp.full((4096, 64), 0.001)
    held = np.asarray(hold_pairs(params, along, jnp.array(0.001), jnp.asarray(first)))[0]
    moved = (held > 0).mean(axis=1)
    np.testing.assert_allclose(moved, 0.001 * 128, atol=0.06)


# --- Gradients. ---


class Mixed(unspool.AbstractProblem):
    """Linear in the first of each pair of parameters, quadratic in the second."""

    horizon: int = 2

    def init_params(self, *, key):
        return jax.tree.map(jnp.array, STARTS)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        loss = jnp.zeros(())
        for name, scale in SCALES.items():
            moved = (params[name] - STARTS[name]).astype(jnp.float32) / scale
            loss = loss + 2 * moved[0] + (moved[1] + 1) ** 2
        return state, loss


SCALES = {"bfloat16": 0.002, "float16": 2e-4, "float32": 0.04}
"""About a quarter of the spacing."""

STARTS = {
    # The quadratic ones lie amid numbers that are evenly spaced for many sigmas around.
    "bfloat16": np.array([1.0, 1.5], "bfloat16"),
    "float16": np.array([1.0, 1.5], "float16"),
    "float32": np.array([2.0**20, 1.5 * 2.0**20], "float32"),
}


@pytest.fixture(scope="module")
def run_mixed():
    """Estimates with sigma at `SCALES`, in those units, and the standard deviation of slopes."""
    estimator = unspool.NRES(500, 2, dict(SCALES))

    def run():
        problem = Mixed()
        params = problem.init_params(key=KEY)

        @jax.jit
        def estimates(key):
            def update(state, _):
                estimate, state = estimator.estimate(problem, params, state)
                return state, jax.tree.map(lambda x: x.astype(jnp.float32), estimate.grad)

            return jax.lax.scan(update, estimator.init(problem, params, key=key), length=60)[1]

        grads = estimates(KEY)
        return np.stack([np.asarray(grads[name]) * SCALES[name] for name in SCALES], axis=1)

    return run


def mean_and_error(grads):
    return np.mean(grads, axis=0), np.std(grads, axis=0, ddof=1) / len(grads) ** 0.5


def test_gradients_of_coarse_parameters_are_right(run_mixed):
    mean, error = mean_and_error(run_mixed())
    assert np.all(error < 0.1)
    assert np.all(np.abs(mean - 2) < 4 * error)


def test_the_reference_holds_perturbations_likewise():
    problem = Mixed()
    target = Target(None, None, dict(SCALES))
    params = problem.init_params(key=KEY)
    grads = sample_gradients(problem, params, target, key=KEY, num_samples=20_000)
    grads = np.stack([np.asarray(grads[name]) * SCALES[name] for name in SCALES], axis=1)
    mean, error = mean_and_error(grads)
    assert np.all(error < 0.1) and np.all(np.abs(mean - 2) < 4 * error), (mean, error)


def test_rounding_to_the_nearest_would_be_found_out(run_mixed, monkeypatch):
    def nearest(x, sigma, shift, uniform):
        moved = (x.astype(shift.dtype) + shift).astype(x.dtype)
        return moved.astype(shift.dtype) - x.astype(shift.dtype)

    monkeypatch.setattr(rounding, "hold", nearest)
    mean, error = mean_and_error(run_mixed())
    assert np.all(np.abs(mean - 2)[:, 0] > 6 * error[:, 0])


def test_the_noise_that_rounding_adds_is_as_predicted(monkeypatch):
    """Far below the spacing g each arm moves by g with probability sigma |z| / g, or not at all.

    Both do at once, so that half their difference has a variance of g sigma E|z|.
    """

    class Line(Mixed):
        def init_params(self, *, key):
            return jnp.ones(1, "bfloat16")

        def step(self, params, state, t, *, key):
            return state, params[0].astype(jnp.float32)

    estimator, params = unspool.FullES(20_000, 5e-4), jnp.ones(1, "bfloat16")
    state = estimator.init(Line(), params, key=KEY)
    estimate, _ = estimator.estimate(Line(), params, state)
    variance = 2.0**-7 * 5e-4 * math.sqrt(2 / math.pi)
    # Of fourth moments g**3 sigma E|z| there are as many.
    error = math.sqrt((2.0**-7) ** 2 * variance / 20_000)
    assert abs(float(estimate.stats["derivative_std"]) ** 2 - variance) < 4.5 * error
    assert error < 0.05 * variance


PROGRAM = """
import json, jax, jax.numpy as jnp, numpy as np, unspool
from unspool._estimator.rounding import hold_pair
numbers = jnp.arange(64, dtype=jnp.uint32) * jnp.uint32(2**26)
held = {}
for kind, sigma in (("bfloat16", 0.003), ("float16", 3e-4)):
    along = sigma * jax.random.normal(jax.random.key(1), (64, 4))
    def shares(params, along):
        one = lambda along, number: hold_pair(params, along, jnp.array(sigma), number)
        held = jnp.stack(jax.vmap(one)(along, numbers))
        wide = params.astype(jnp.float32)
        return held, (wide + held[0, 0]).astype(kind).astype(jnp.float32)
    found = jax.jit(shares)(jnp.array([1.0, 0.999, -300.0, 0.0], kind), along)
    held[kind] = [np.asarray(x).ravel().tolist() for x in found]
print(json.dumps(held))
"""


@pytest.mark.parametrize("allow", ["false"])
def test_excess_precision_changes_nothing(start_program, finish, monkeypatch, allow, capsys):
    exec(PROGRAM, {})
    here = json.loads(capsys.readouterr().out)
    monkeypatch.setenv("XLA_FLAGS", f"--xla_allow_excess_precision={allow}")
    output, errors = finish(start_program("-c", PROGRAM))
    assert json.loads(output) == here, errors
    assert np.ptp(here["bfloat16"][0]) > 0
