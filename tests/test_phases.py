"""Workers that are born one after the other: what each update is an estimate of."""

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
HORIZON, WINDOW = 8, 2
WINDOWS = HORIZON // WINDOW
WEIGHTS = np.array([1.0, 2.0, -1.0, 4.0, 3.0, -2.0, 0.5, 8.0])
OF_WINDOWS = WEIGHTS.reshape(WINDOWS, WINDOW).sum(axis=1) / HORIZON
"""The gradient of each window, of which that of an episode is the sum."""


class Weighted(unspool.AbstractProblem):
    """The loss of step t is the parameter times the t-th weight."""

    horizon: int = HORIZON

    def init_params(self, *, key):
        return jnp.zeros(())

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, params * jnp.asarray(WEIGHTS)[t]


class Ones(extend.AbstractDirections):
    """With a linear loss of one parameter an estimate is then exact."""

    def couples_episodes(self, pairs):
        return False

    def draw(self, params, draw):
        return jax.vmap(lambda _: jnp.ones_like(params))(draw.numbers)


def ramp(update: int, weighted: bool = True) -> float:
    """The mean of an update."""
    seen = np.arange(min(update + 1, WINDOWS))
    weight = WINDOWS / (WINDOWS - seen) if weighted and update < WINDOWS else np.ones(len(seen))
    return float(np.sum(weight * OF_WINDOWS[seen]))


def gradients(estimator, count, key=KEY):
    problem, params = Weighted(), jnp.zeros(())
    state = estimator.init(problem, params, key=key)
    found = []
    for _ in range(count):
        estimate, state = estimator.estimate(problem, params, state)
        found.append(estimate.grad)
    return jnp.stack(found)


MEMBERS = {
    "NRES": unspool.NRES(8, WINDOW, 1.0, directions=Ones(), phases=unspool.Staggered()),
    "in chunks": unspool.Chunked(
        unspool.NRES(8, WINDOW, 1.0, directions=Ones(), phases=unspool.Staggered()), 3
    ),
    "groups": unspool.NRES(
        8, WINDOW, 1.0, pairs_per_group=2, directions=Ones(), phases=unspool.Staggered()
    ),
    "TruncatedES": unspool.TruncatedES(
        4, WINDOW, 1.0, directions=Ones(), phases=unspool.Staggered()
    ),
    "DODGE": unspool.DODGE(4, WINDOW, directions=Ones(), phases=unspool.Staggered()),
}


@pytest.mark.parametrize("name", [slow(name, when=name in {"groups", "DODGE"}) for name in MEMBERS])
def test_each_update_has_the_windows_that_are_there(name):
    found = gradients(MEMBERS[name], 2 * WINDOWS)
    np.testing.assert_allclose(found, [ramp(u) for u in range(2 * WINDOWS)], rtol=1e-12)
    whole = WINDOWS * np.sum(OF_WINDOWS)
    np.testing.assert_allclose(np.sum(found[:WINDOWS]), whole, rtol=1e-12)
    # Without weights, early windows would count more often than late ones.
    assert abs(sum(ramp(u, weighted=False) for u in range(WINDOWS)) - whole) > 1


@pytest.mark.slow
def test_as_many_workers_as_do_not_divide_by_the_windows_have_these_means():
    estimator = unspool.NRES(6, WINDOW, 1.0, directions=Ones(), phases=unspool.Staggered())
    keys = jax.random.split(jax.random.key(1), 400)
    found = np.asarray(jax.vmap(lambda key: gradients(estimator, WINDOWS + 1, key))(keys))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(keys))
    off = np.mean(found, axis=0) - [ramp(u) for u in range(WINDOWS + 1)]
    assert np.all(np.abs(off) < 4 * error) and np.max(error) < 0.1


@pytest.mark.slow
def test_a_noise_of_gauss_leaves_the_means_as_they_are():
    estimator = unspool.PES(4, WINDOW, 0.5, phases=unspool.Staggered())
    keys = jax.random.split(jax.random.key(2), 2000)
    found = np.asarray(jax.vmap(lambda key: gradients(estimator, WINDOWS, key))(keys))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(keys))
    z = lambda weighted: (
        (np.mean(found, axis=0) - [ramp(u, weighted) for u in range(WINDOWS)]) / error
    )
    assert np.all(np.abs(z(True)) < 4)
    assert np.max(np.abs(z(False))) > 6


def test_no_step_is_run_before_the_first_update():
    job = Weighted(), MEMBERS["NRES"], optax.sgd(0.1)
    *_, record = unspool.train(*job, num_updates=6, key=KEY, log_every=6)
    assert record.warmup_steps == 0 and record.steps == 6 * 8 * 2 * WINDOW
    waiting = sum(8 - 2 * (update + 1) for update in range(WINDOWS - 1))
    assert record.useful_steps == record.steps - waiting * 2 * WINDOW
    assert record.dropped == 0 and record.result == unspool.RESULTS.successful


def test_a_training_goes_on_through_the_ramp_to_the_same_bits(tmp_path):
    job = Weighted(), MEMBERS["NRES"], optax.sgd(0.1)
    *_, whole = unspool.train(*job, num_updates=5, key=KEY)
    file = tmp_path / "state.npz"
    *_, part = unspool.train(*job, num_updates=2, key=KEY)
    unspool.save_checkpoint(file, part.state)
    state = unspool.load_checkpoint(file, part.state)
    *_, again = unspool.train(*job, num_updates=5, key=KEY, state=state)
    np.testing.assert_array_equal(again.params, whole.params)


def test_what_cannot_be_staggered_is_refused():
    few = unspool.NRES(3, WINDOW, 1.0, phases=unspool.Staggered())
    with pytest.raises(ValueError, match="at least 4, got 3"):
        few.init(Weighted(), jnp.zeros(()), key=KEY)
    ends = problems.EarlyEnd(horizon=8)
    params = ends.init_params(key=KEY)
    with pytest.raises(ValueError, match="episodes of one length"):
        unspool.NRES(8, WINDOW, 1.0, phases=unspool.Staggered()).init(ends, params, key=KEY)


def test_phases_are_named_in_settings():
    spec = lambda phases: unspool.Spec("nres", {"num_workers": 20, "window": 1, "phases": phases})
    for name, cls in (("staggered", unspool.Staggered), ("independent", unspool.IndependentPhases)):
        config = unspool.TrainConfig(problem=unspool.Spec("cubic"), estimator=spec(name))
        built = unspool.build_training(config).estimator
        assert isinstance(built, unspool.NRES) and built.phases == cls()
