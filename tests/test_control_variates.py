"""Control variates: what is learned about them may not have seen the noise that it is used on."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool import extend, problems

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
CUBIC = problems.Cubic(horizon=12)


class Fitted(extend.AbstractControl):
    """Least squares over the last few visits."""

    memory: float = 0.95

    def init(self):
        return {"product": 0.0, "square": 0.0}

    def coefficient(self, learned):
        square = learned["square"]
        return jnp.where(square > 0, learned["product"] / jnp.where(square > 0, square, 1.0), 0.0)

    def deposit(self, derivative, explained):
        return {"product": derivative * explained, "square": explained**2}

    def update(self, learned, deposits):
        return jax.tree.map(lambda old, new: self.memory * old + new, learned, deposits)


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


class Controlled(extend.AbstractPerturbed):
    """`NRES` beside an unperturbed arm, with any control."""

    num_workers: int
    window: int
    control: extend.AbstractControl = Fitted()
    sigma: Any = eqx.field(default=0.1, converter=extend.as_sigma)
    directions: extend.AbstractDirections = unspool.GaussianDirections()
    pairs_per_group: int = 1
    estimand: ClassVar[str] = "smoothed gradient"

    @property
    def tableau(self):
        return extend.Tableau(
            window=self.window,
            period=None,
            probe=extend.ControlledAntithetic(),
            sigma=self.sigma,
            control=self.control,
            directions=self.directions,
            pairs=self.pairs_per_group,
        )


class OneForAllWindows(Controlled):
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
    "several pairs": Controlled(4, 3),
    "a group": Controlled(4, 3, pairs_per_group=2),
    "the newest visit alone": Controlled(1, 3, Newest()),
    "in chunks": unspool.Chunked(Controlled(4, 3), 2),
    "odd windows": Controlled(3, 5, Newest()),
}


@pytest.mark.parametrize("name", [slow(n, when=n != "a group") for n in FITTED])
def test_a_fitted_coefficient_has_no_bias(name):
    result = check(FITTED[name])
    assert result.passed, result


def test_a_coefficient_that_has_seen_the_noise_is_found_out():
    problem = problems.LearnedStart(horizon=12)
    verdicts = [
        check(kind(1, 3, Newest()), problem, num_chains=800).verdict
        for kind in (Controlled, OneForAllWindows)
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
    learned, _ = grads(Controlled(8, 3), CUBIC, 40, 20)
    plain, _ = grads(unspool.NRES(8, 3, 0.1), CUBIC, 40, 20)
    spread = lambda found: np.asarray(found)[:, 20:].std((0, 1))
    assert np.all(spread(learned) < 0.9 * spread(plain))
    # A deposit is read one update later at the earliest: warm-up alone is before these.
    fresh, _ = grads(Controlled(4, 12), CUBIC, 2)
    others, _ = grads(unspool.NRES(4, 12, 0.1), CUBIC, 2)
    np.testing.assert_allclose(fresh[:, 0], others[:, 0], rtol=1e-9)
    assert np.all(np.abs(fresh[:, 1] - others[:, 1]) > 1e-6)


def test_chunks_deposit_the_same():
    whole, known = grads(Controlled(6, 3), CUBIC, 10)
    chunked, same = grads(unspool.Chunked(Controlled(6, 3), 2), CUBIC, 10)
    np.testing.assert_allclose(chunked, whole, rtol=1e-9)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-9), known, same)
    assert all(np.all(x != 0) for x in jax.tree.leaves(known.control))


def test_what_is_learned_is_not_for_directions_that_are_coupled():
    message = "LatticeDirections couples .* the coefficient of the control is learned"
    with pytest.raises(ValueError, match=message):
        Controlled(4, 3, directions=unspool.LatticeDirections())
    pair = unspool.OrthogonalDirections(2)
    with pytest.raises(ValueError, match="OrthogonalDirections of a size that divides"):
        Controlled(4, 3, directions=pair)
    # Within a group all is read before anything is deposited.
    Controlled(4, 3, directions=pair, pairs_per_group=2)
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
    for estimator in (unspool.TBPTT(2, 3), unspool.NRES(2, 3, 0.1), Controlled(2, 3)):
        state = estimator.init(CUBIC, params, key=KEY)
        stats = estimator.estimate(CUBIC, params, state)[0].stats
        expected = shapes_of_stats(estimator.plan(12))
        assert {name: (x.shape, x.dtype) for name, x in stats.items()} == {
            name: (x.shape, x.dtype) for name, x in expected.items()
        }
