"""Control variates: what is learned about them may not have seen the noise that it is used on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import extend, problems
from unspool._estimator.control import AnalyticNewestControl

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
CUBIC = problems.Cubic(horizon=12)
FITTED_CONTROL = unspool.FittedWindowControl(fewest_pairs=1)


class Newest(extend.AbstractControl):
    """What the newest visit of a window has said, within bounds."""

    def init(self):
        return 0.0

    def coefficient(self, learned):
        return 2 * jnp.tanh(50 * learned)

    def deposit(self, derivative, explained):
        return derivative * explained

    def update(self, learned, deposits):
        return deposits


class OneForAllWindows(unspool.ControlledNRES):
    """The biased way: what windows have learned is pooled, and an episode reads its own noise."""

    def learn(self, workers, sums):
        workers = super().learn(workers, sums)
        pool = lambda x: jnp.broadcast_to(jnp.mean(x), x.shape)
        learned = workers.learned._replace(control=jax.tree.map(pool, workers.learned.control))
        return dataclasses.replace(workers, learned=learned)


def check(estimator, problem=CUBIC, **options):
    params = problem.init_params(key=KEY)
    reference = problem.exact_gradient(params, unspool.Target(sigma=0.1))
    options = {"num_chains": 500, "level": 1e-4} | options
    return unspool.check_unbiased(problem, estimator, key=KEY, reference=reference, **options)


FITTED = {
    "several pairs": unspool.ControlledNRES(4, 3, 0.1, control=FITTED_CONTROL),
    "a group": unspool.ControlledNRES(4, 3, 0.1, control=FITTED_CONTROL, pairs_per_group=2),
    "the newest visit alone": unspool.ControlledNRES(1, 3, 0.1, control=Newest()),
    "in chunks": unspool.Chunked(unspool.ControlledNRES(4, 3, 0.1, control=FITTED_CONTROL), 2),
    "odd windows": unspool.ControlledNRES(3, 5, 0.1, control=Newest()),
}


@pytest.mark.parametrize("name", [slow(n, when=n != "a group") for n in FITTED])
def test_a_fitted_coefficient_has_no_bias(name):
    result = check(FITTED[name])
    assert result.passed, result


def test_a_coefficient_that_has_seen_the_noise_is_found_out():
    problem = problems.LearnedStart(horizon=12)
    verdicts = [
        check(kind(1, 3, 0.1, control=Newest()), problem, num_chains=800).verdict
        for kind in (unspool.ControlledNRES, OneForAllWindows)
    ]
    assert verdicts == ["unbiased", "biased"]


def grads(estimator, problem, num_estimates, num_keys=1):
    params = problem.init_params(key=KEY)

    def chain(key):
        state = estimator.init(problem, params, key=key)
        step = lambda state, _: estimator.estimate(problem, params, state)[::-1]
        state, found = jax.lax.scan(step, state, length=num_estimates)
        return jnp.stack(jax.tree.leaves(found.grad), -1), state[0].learned

    return jax.jit(jax.vmap(chain))(jax.random.split(KEY, num_keys))


def test_the_first_visit_of_a_window_has_no_control_and_later_ones_have_less_noise():
    learned, _ = grads(unspool.ControlledNRES(8, 3, 0.1), CUBIC, 40, 20)
    plain, _ = grads(unspool.NRES(8, 3, 0.1), CUBIC, 40, 20)
    spread = lambda found: np.asarray(found)[:, 20:].std((0, 1))
    assert np.all(spread(learned) < 0.9 * spread(plain))
    # A deposit is read one update later at the earliest: warm-up alone is before these.
    fresh, _ = grads(unspool.ControlledNRES(4, 12, 0.1, control=FITTED_CONTROL), CUBIC, 2)
    others, _ = grads(unspool.NRES(4, 12, 0.1), CUBIC, 2)
    np.testing.assert_allclose(fresh[:, 0], others[:, 0], rtol=1e-9)
    assert np.all(np.abs(fresh[:, 1] - others[:, 1]) > 1e-6)


class Kept(unspool.FittedWindowControl):
    """Forgets all but the newest visit."""

    def update(self, learned, deposits):
        return deposits


def visits(control, num_updates):
    """What is known after each update of one worker, and the window that it was in."""
    estimator = unspool.ControlledNRES(1, 3, 0.1, control=control)
    params = CUBIC.init_params(key=KEY)
    state = estimator.init_workers(CUBIC, params, KEY)
    for _ in range(num_updates):
        place = int(state[0].trajectories.clock.t[0]) // 3 % 4
        _, state = estimator.estimate(CUBIC, params, state)
        yield place, jax.tree.map(np.asarray, state[0].learned.control)


def test_a_coefficient_is_that_of_least_squares_over_earlier_visits():
    expected = {name: np.zeros(4) for name in FITTED_CONTROL.init()}
    newest = [(place, known) for place, known in visits(Kept(), 12)]
    for (place, known), (same, deposit) in zip(visits(FITTED_CONTROL, 12), newest, strict=True):
        assert place == same
        for name, sums in expected.items():
            # The places where nobody was keep what they have.
            sums[place] = 0.95 * sums[place] + deposit[name][place]
            np.testing.assert_allclose(known[name], sums, rtol=1e-9)
    ratios = jax.vmap(FITTED_CONTROL.coefficient)(jax.tree.map(jnp.asarray, known))
    np.testing.assert_allclose(ratios, expected["product"] / expected["square"])
    assert len(np.unique(ratios)) == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_squares_neither_overflow_nor_vanish_unseen(dtype):
    largest, smallest = np.finfo(dtype).max, np.finfo(dtype).tiny
    cases = {
        3.0: [(6.0, 2.0), (3.0, 1.0)],
        0.0: [(0.0, 0.0)],
        -2.0: [(1.0, 1.0), (-2e-2 * largest, 1e-2 * largest)],
        1e-3: [(5.0, 1.0), (largest * 1e-3, largest)],
    }
    for expected, visits in cases.items():
        learned = jax.tree.map(lambda x: jnp.asarray(x, dtype), FITTED_CONTROL.init())
        for visit in visits:
            deposit = FITTED_CONTROL.deposit(*(jnp.asarray(x, dtype) for x in visit))
            many = jax.tree.map(lambda x: 1e6 * x, deposit)
            learned = FITTED_CONTROL.update(learned, many)
        assert FITTED_CONTROL.coefficient(learned) == pytest.approx(expected, rel=1e-5), visits
    small = FITTED_CONTROL.deposit(*(jnp.asarray(smallest, dtype) for _ in range(2)))
    assert FITTED_CONTROL.coefficient(small) == 0


def test_a_coefficient_waits_for_enough_pairs():
    control = unspool.FittedWindowControl(decay=0.9, fewest_pairs=3)
    learned, found = control.init(), []
    for _ in range(5):
        learned = control.update(learned, control.deposit(jnp.array(2.0), jnp.array(1.0)))
        found.append(float(control.coefficient(learned)))
    # What is left of three is 2.71, of four 3.44.
    np.testing.assert_allclose(found, [0, 0, 0, 2, 2], rtol=1e-9)
    with pytest.raises(ValueError, match="fewest_pairs must be an integer of at least 1, got 0"):
        unspool.FittedWindowControl(fewest_pairs=0)


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5, float("nan")])
def test_a_decay_is_a_share(decay):
    with pytest.raises(ValueError, match="decay must be above 0 and at most 1, got"):
        unspool.FittedWindowControl(decay=decay)


class Steps(problems.Cubic):
    """Losses without a derivative, or steps that JAX cannot differentiate backwards."""

    kind: str = "jumps"

    def step(self, params, state, t, *, key):
        state, loss = super().step(params, state, t, key=key)
        if self.kind == "jumps":
            return state, jnp.floor(20 * loss)
        if self.kind == "loops":
            return jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, state), loss
        shape = jax.ShapeDtypeStruct((), loss.dtype)
        return state, jax.pure_callback(np.sin, shape, loss, vmap_method="broadcast_all")


def test_without_derivatives_the_estimate_is_that_without_a_control():
    found, learned = grads(unspool.ControlledNRES(4, 3, 0.1), Steps(horizon=12), 8)
    plain, _ = grads(unspool.NRES(4, 3, 0.1), Steps(horizon=12), 8)
    np.testing.assert_allclose(found, plain, rtol=1e-9)
    assert np.any(plain != 0) and not np.any(learned.control["square"])


@pytest.mark.parametrize(
    ("kind", "message"),
    [("loops", "Reverse-mode differentiation"), ("calls", "do not support JVP")],
)
def test_steps_that_cannot_be_differentiated_are_refused_with_the_reason(kind, message):
    with pytest.raises(ValueError, match=message):
        grads(unspool.ControlledNRES(2, 3, 0.1), Steps(horizon=12, kind=kind), 1)


@pytest.mark.slow
def test_chunks_deposit_the_same():
    estimator = unspool.ControlledNRES(6, 3, 0.1)
    whole, known = grads(estimator, CUBIC, 10)
    chunked, same = grads(unspool.Chunked(estimator, 2), CUBIC, 10)
    np.testing.assert_allclose(chunked, whole, rtol=1e-9)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9), known, same)
    assert all(np.all(x != 0) for x in jax.tree.leaves(known.control))


def test_what_is_learned_is_not_for_directions_that_are_coupled():
    message = "LatticeDirections couples .* the coefficient of the control is learned"
    with pytest.raises(ValueError, match=message):
        unspool.ControlledNRES(4, 3, 0.1, directions=unspool.LatticeDirections())
    pair = unspool.OrthogonalDirections(2)
    with pytest.raises(ValueError, match="OrthogonalDirections of a size that divides"):
        unspool.ControlledNRES(4, 3, 0.1, directions=pair)
    # Within a group all is read before anything is deposited.
    unspool.ControlledNRES(4, 3, 0.1, directions=pair, pairs_per_group=2)
    fixed = {"control": unspool.WindowGradientControl(), "directions": pair}
    assert unspool.ControlledNRES(4, 3, 0.1, **fixed).directions == pair
    with pytest.raises(ValueError, match="the scale of the noise is learned"):
        unspool.NRES(4, 3, Halving(), directions=pair)


class Halving(extend.AbstractSigma):
    """Half as large after every update of which the first parameter moves at all."""

    start: float = 0.4

    def init(self, params):
        return jnp.array(self.start)

    def stamp(self, learned, update):
        return learned

    def at(self, stamp):
        return stamp

    def after_update(self, learned, made):
        return jnp.where(made.updates["level"] != 0, learned / 2, learned)


def keeps_what_it_is_told():
    """An optimizer of plain descent."""

    def init(params):
        return {"sigma": jnp.zeros(()), "windows": jnp.zeros((), int), "std": jnp.zeros(())}

    def update(grad, state, params=None, *, value, sigma, stats, num_windows):
        told = {"sigma": sigma, "windows": num_windows, "std": stats["derivative_std"]}
        return jax.tree.map(lambda g: -1e-3 * g, grad), told

    return optax.GradientTransformationExtraArgs(init, update)


def test_a_scale_may_follow_from_updates_and_is_told_to_the_optimizer():
    """Directions keep the scale that they were drawn with: the credit stays right."""
    estimator = unspool.NRES(4, 3, Halving())
    init, step = unspool.make_step(CUBIC, estimator, keeps_what_it_is_told())
    state = init(CUBIC.init_params(key=KEY), key=KEY)
    sigmas = []
    for _ in range(5):
        before = state
        state, estimate = step(state)
        sigmas.append(float(state.optimizer["sigma"]))
        assert state.optimizer["windows"] == 4
        assert state.optimizer["std"] == estimate.stats["derivative_std"]
        # One of four workers draws anew in each update, and the others keep theirs.
        stamps = [np.asarray(s.workers[0].carried.stamp)[0] for s in (before, state)]
        assert np.sum(stamps[0] != stamps[1]) == (1 if len(sigmas) > 1 else 0)
        assert set(stamps[1]) <= {0.4, *sigmas}
    np.testing.assert_allclose(sigmas, [0.4, 0.2, 0.1, 0.05, 0.025])


def test_without_training_a_learned_scale_is_what_it_was():
    result = check(unspool.NRES(4, 3, Halving(start=0.1)), num_chains=300)
    assert result.passed, result


def test_optimizers_of_optax_are_told_what_they_take():
    def update(grad, state, params=None, *, sigma, **others):
        return jax.tree.map(lambda g: -sigma * g, grad), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    chained = optax.chain(optimizer, optax.scale(2.0))
    for each, factor in ((optimizer, 0.1), (chained, 0.2)):
        init, step = unspool.make_step(CUBIC, unspool.NRES(4, 3, 0.1), each)
        state = init(CUBIC.init_params(key=KEY), key=KEY)
        after, estimate = step(state)
        for name in ("level", "slope"):
            moved = after.params[name] - state.params[name]
            np.testing.assert_allclose(moved, -factor * estimate.grad[name], rtol=1e-9)


def test_statistics_are_known_before_there_is_an_estimate():
    from unspool._estimator.estimate import shapes_of_stats

    params = CUBIC.init_params(key=KEY)
    for estimator in (
        unspool.TBPTT(2, 3),
        unspool.NRES(2, 3, 0.1),
        unspool.ControlledNRES(2, 3, 0.1),
    ):
        state = estimator.init(CUBIC, params, key=KEY)
        stats = estimator.estimate(CUBIC, params, state)[0].stats
        expected = shapes_of_stats(estimator.plan(12))
        assert {name: (x.shape, x.dtype) for name, x in stats.items()} == {
            name: (x.shape, x.dtype) for name, x in expected.items()
        }


@pytest.mark.parametrize(
    "make",
    [
        lambda control: unspool.ControlledNRES(4, 3, 0.1, control=control),
        lambda control: unspool.ControlledGPES(4, 3, 3, 0.1, control=control),
    ],
    ids=["NRES", "GPES"],
)
def test_a_control_that_takes_the_newest_score_is_refused(make):
    assert make(unspool.WindowGradientControl()).control == unspool.WindowGradientControl()
    with pytest.raises(ValueError, match="AnalyticNewestControl does not, which would bias"):
        make(AnalyticNewestControl())
