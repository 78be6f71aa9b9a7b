"""What workers go through, to the last digit: directions that bear labels say what was credited."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import extend
from unspool._random import Purpose, stream

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)
HORIZON, WINDOW = 8, 2
WINDOWS = HORIZON // WINDOW
EPISODES, BLOCKS = 64, HORIZON
"""The numbers of episodes, and of blocks in each, that there are labels for."""


class Labels(extend.AbstractDirections):
    """A one in the first coordinate, and one in that of the episode's block.

    With the losses of `First` an estimate is then a list of what has been credited.
    """

    def couples_episodes(self, pairs):
        return False

    def draw(self, params, draw):
        place = lambda number: 1 + number * BLOCKS + draw.block
        label = lambda number: params.at[0].set(1.0).at[place(number)].set(1.0)
        return jax.vmap(label)(draw.numbers)


class Labeled(extend.AbstractPerturbed):
    """Any period and any phases, with labels for directions."""

    num_workers: int
    window: int | None = WINDOW
    period: int | None = WINDOW
    phases: extend.AbstractPhases = unspool.EvenPhases()
    sigma: Any = eqx.field(default=1.0, converter=extend.as_sigma)
    directions: extend.AbstractDirections = Labels()
    estimand: ClassVar[str] = "nothing: the directions are not random"

    @property
    def tableau(self):
        return extend.Tableau(
            window=self.window,
            period=self.period,
            probe=extend.Antithetic(),
            sigma=self.sigma,
            phases=self.phases,
            directions=self.directions,
        )


class First(unspool.AbstractProblem):
    """Half the difference of a pair is the first coordinate of its perturbation, the mean its
    square.

    Directions that last an episode are kept where `size`, that of the state, is large, and drawn
    again where it is small. Episodes of odd numbers fail if any do.
    """

    horizon: int = HORIZON
    size: int = 1
    odd_fail: bool = False

    def init_params(self, *, key):
        return jnp.zeros(1 + EPISODES * BLOCKS)

    def init_state(self, params, *, key):
        return jnp.zeros(self.size)

    def step(self, params, state, t, *, key):
        loss = params[0] + params[0] ** 2
        if self.odd_fail:
            odd = params[1:].reshape(EPISODES // 2, 2, BLOCKS)[:, 1]
            loss = jnp.where(jnp.any(odd != 0), jnp.nan, loss)
        return state, loss


LARGE = 10 * EPISODES * BLOCKS
"""A state for which directions are kept."""


def history(estimator, problem, num_estimates, num_keys=1):
    """What is credited in each estimate, by key, episode and block, summed over workers; and the
    estimates themselves."""
    params = problem.init_params(key=KEY)

    def chain(key):
        estimate = lambda state, _: estimator.estimate(problem, params, state)[::-1]
        state = estimator.init(problem, params, key=key)
        return jax.lax.scan(estimate, state, length=num_estimates)[1]

    found = jax.jit(jax.vmap(chain))(jax.random.split(KEY, num_keys))
    credited = estimator.num_workers * np.asarray(found.grad[..., 1:])
    return credited.reshape(num_keys, num_estimates, EPISODES, BLOCKS), found


def score_sum(place, estimator):
    """What a worker in this window of its episode credits to each block: those begun by a step's
    time, in the mean over the window's steps."""
    steps = place * estimator.window + np.arange(estimator.window)
    begun = steps // (estimator.period or HORIZON)
    return np.mean(begun[:, None] >= np.arange(BLOCKS), axis=0)


@pytest.mark.parametrize(
    ("estimator", "size"),
    [
        pytest.param(Labeled(3), 1, id="a noise per window, updates without births"),
        slow(Labeled(6), 1, id="a noise per window, births in every update"),
        slow(Labeled(3, 2, 4), 1, id="a noise for two windows"),
        pytest.param(Labeled(1, 4, 2), 1, id="two noises in a window"),
        slow(Labeled(3, 2, None), 1, id="a noise for the episode, drawn again"),
        pytest.param(Labeled(3, 2, None), LARGE, id="a noise for the episode, kept"),
        pytest.param(Labeled(6, 2, None), LARGE, id="kept, births in every update"),
    ],
)
def test_losses_are_credited_to_the_noise_of_the_episode_so_far(estimator, size):
    """And to no other: a worker goes from window to window, and then begins an episode whose
    number, and so whose noise, nobody has had."""
    num_windows, num_workers = HORIZON // estimator.window, estimator.num_workers
    (credits,), found = history(estimator, First(size=size), 4 * num_windows)
    at_work = credits[..., 0] != 0
    assert np.all(at_work.sum(axis=1) == num_workers) and np.all(found.loss == 1.0)
    for episode in np.flatnonzero(at_work.any(axis=0)):
        (updates,) = np.nonzero(at_work[:, episode])
        assert np.array_equal(updates, updates[0] + np.arange(updates.size))
        is_whole = 0 < updates[0] and updates[-1] < len(credits) - 1
        assert updates.size == num_windows if is_whole else updates.size <= num_windows
        # Warming up has taken those that are there from the start some way into their episodes.
        start = num_windows - updates.size if updates[0] == 0 else 0
        table = [score_sum(start + window, estimator) for window in range(updates.size)]
        np.testing.assert_allclose(credits[updates, episode], table, rtol=0, atol=1e-12)
    begun = np.sum(at_work[1:] & ~at_work[:-1], axis=1)
    assert set(begun.tolist()) <= {num_workers // num_windows, -(-num_workers // num_windows)}
    assert begun.sum() >= 3 * num_workers


PHASES = {
    "even": Labeled(3),
    "independent": Labeled(3, phases=unspool.IndependentPhases()),
    "lock step": Labeled(3, phases=extend.LockStep()),
}


@pytest.mark.parametrize("kind", PHASES)
def test_where_workers_start(kind):
    num_keys, estimator = 128, PHASES[kind]
    credits, _ = history(estimator, First(), 1, num_keys)
    # The last block credited; episodes are numbered in the order of the workers.
    last = lambda credited: credited[credited.any(axis=1)].astype(bool).sum(axis=1) - 1
    starts = np.array([last(credited) for (credited,) in credits])
    assert starts.shape == (num_keys, 3)
    if kind == "lock step":
        assert not starts.any()
        return
    # Each worker's place is uniform, the last window included: 128 draws, 4 standard errors.
    counts = np.array([np.bincount(column, minlength=WINDOWS) for column in starts.T])
    share = 1 / WINDOWS
    assert counts.shape == (3, WINDOWS)
    error = np.sqrt(num_keys * share * (1 - share))
    assert (
        np.all(np.abs(counts - num_keys * share) < 4 * error) and 4 * error < 0.7 * num_keys * share
    )
    together = np.mean(starts[:, :1] == starts[:, 1:], axis=0)
    if kind == "even":
        assert not together.any()
    else:
        assert np.all(np.abs(together - share) < 4 * error)


@pytest.mark.parametrize(("num_workers", "num_windows"), [(2, 8), (3, 8), (8, 8), (20, 8)])
def test_an_even_spread_leaves_no_gap_and_no_crowd(num_workers, num_windows):
    phases = [
        np.sort(unspool.EvenPhases().draw(num_workers, num_windows, key))
        for key in jax.random.split(KEY, 10)
    ]
    # From one worker to the next, around the episode.
    gaps = np.diff(phases, axis=1, append=num_windows + np.array(phases)[:, :1])
    assert set(gaps.ravel()) <= {num_windows // num_workers, -(-num_windows // num_workers)}


def test_a_worker_may_start_in_any_window():
    keys = jax.random.split(KEY, 60)
    for phases in (unspool.EvenPhases(), unspool.IndependentPhases()):
        starts = {int(phases.draw(2, 4, key)[0]) for key in keys}
        assert starts == {0, 1, 2, 3}


def test_no_two_blocks_of_no_two_episodes_share_a_direction():
    episode, block = (x.ravel() for x in jnp.meshgrid(jnp.arange(20), jnp.arange(20)))
    numbers = lambda number: jnp.array([3 * number, 3 * number + 1, 3 * number + 2])
    draw = lambda number, block: extend.Draw(KEY, numbers(number), block, 60)
    one = lambda number, block: unspool.GaussianDirections().draw(jnp.zeros(2), draw(number, block))
    drawn = jax.vmap(one)(episode, block)
    assert np.unique(np.asarray(drawn)).size == drawn.size


class OfTheRoot(extend.AbstractDirections):
    """The root that directions are drawn from, as a number."""

    def couples_episodes(self, pairs):
        return False

    def draw(self, params, draw):
        return jnp.full((draw.numbers.size, *params.shape), _number(draw.key))


def _number(key):
    return jax.random.key_data(key)[0].astype(float) % 1000


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize("period", [WINDOW, None])
def test_directions_are_drawn_from_the_root_of_the_noise(period, size):
    estimator, problem = Labeled(2, period=period, directions=OfTheRoot()), First(size=size)
    params = problem.init_params(key=KEY)
    state = estimator.init(problem, params, key=KEY)
    estimate, _ = estimator.estimate(problem, params, state)
    assert estimate.loss == _number(state[0].noise_key) ** 2


def test_data_and_noise_have_nothing_in_common():
    """Nor have the phases: a common root would make a draw of one a draw of another."""
    state = unspool.NRES(2, 1, 0.1).init_workers(First(), First().init_params(key=KEY), KEY)
    phases = stream(KEY, Purpose.PHASE)
    words = {
        tuple(np.asarray(jax.random.key_data(key)).tolist())
        for key in (KEY, state[0].data_key, state[0].noise_key, phases)
    }
    assert len(words) == 4


def halved(update):
    return 0.5**update


def test_warming_up_is_no_update_and_a_score_keeps_the_sigma_of_its_draw():
    """With sigma halved by every update, the credit of a noise from d updates ago is 2^-d; what
    was drawn while warming up is as if drawn in the first update."""
    estimator = Labeled(3, sigma=halved)
    (credits,), found = history(estimator, First(), 6)
    for update, credited in enumerate(credits):
        assert found.loss[0, update] == halved(update) ** 2
        for episode in np.flatnonzero(credited.any(axis=1)):
            place = np.flatnonzero(credited[episode])[-1]
            age = np.minimum(place - np.arange(place + 1), update)
            np.testing.assert_allclose(credited[episode, : place + 1], 0.5**age, rtol=1e-12)


def test_a_noise_keeps_the_sigma_of_its_draw_to_the_end():
    """At zero the loss of a pair is the square of its perturbation."""
    estimator = Labeled(1, WINDOW, None, sigma=halved)
    (credits,), found = history(estimator, First(), 3 * WINDOWS)
    begun = {}
    for update, credited in enumerate(credits):
        (episode,) = np.flatnonzero(credited[:, 0])
        drawn_at = begun.setdefault(episode, update)
        assert found.loss[0, update] == halved(drawn_at) ** 2
        assert credited[episode, 0] == 1.0
    assert len(begun) >= 3


def test_an_update_without_a_failure_is_the_mean_over_all_and_one_with_over_the_rest():
    estimator = Labeled(6, None, None)
    for problem, dropped in ((First(), 0), (First(odd_fail=True), 3)):
        ((credited,),), found = history(estimator, problem, 1)
        assert found.stats["dropped"] == dropped
        healthy = np.flatnonzero(credited[:, 0])
        assert len(healthy) == 6 - dropped and (not dropped or not np.any(healthy % 2))
        np.testing.assert_allclose(credited[healthy, 0], 6 / (6 - dropped), rtol=1e-12)
        # All have the same derivative.
        assert found.loss == 1.0 and found.stats["derivative_std"] == 0.0


class Unlucky(unspool.AbstractProblem):
    """The loss is the parameter, and NaN in half of the episodes, whatever is done."""

    horizon: int = 3

    def init_params(self, *, key):
        return jnp.array(2.0)

    def init_state(self, params, *, key):
        return jax.random.uniform(key)

    def step(self, params, state, t, *, key):
        return state, jnp.where(state < 0.5, jnp.nan, params)


@pytest.mark.parametrize(
    "estimator",
    [
        slow(unspool.BPTT(16)),
        unspool.ARTBP(16, 0.0),
        unspool.TBPTT(16, 3),
        slow(unspool.RTRL(16, 3)),
        unspool.UORO(16, 3),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_derivatives_are_the_mean_over_the_workers_that_are_left(estimator):
    problem = Unlucky()
    params = problem.init_params(key=KEY)
    state = estimator.init(problem, params, key=KEY)
    estimate, _ = estimator.estimate(problem, params, state)
    assert 0 < estimate.stats["dropped"] < 16
    np.testing.assert_allclose((estimate.grad, estimate.loss), (1.0, 2.0), rtol=1e-12)


class FromTheStart(unspool.AbstractProblem):
    """All that the parameters do, they do to the start state."""

    horizon: int = 4

    def init_params(self, *, key):
        return jnp.array([1.0, -2.0, 3.0])

    def init_state(self, params, *, key):
        return params @ jnp.array([1.0, 2.0, -1.0])

    def step(self, params, state, t, *, key):
        return 0.5 * state, 0.5 * state


@pytest.mark.parametrize(
    "estimator",
    [
        unspool.ControlledNRES(1, 4, 0.1, control=unspool.WindowGradientControl()),
        unspool.PESAnalytic(1, 4, 0.1),
    ],
    ids=["ControlledNRES", "PESAnalytic"],
)
def test_a_control_goes_through_the_start_state(estimator):
    """Where it explains everything, one pair leaves no noise. Without a control there is some."""
    problem = FromTheStart()
    params = problem.init_params(key=KEY)
    exact = (0.5 + 0.25 + 0.125 + 0.0625) / 4 * np.array([1.0, 2.0, -1.0])
    find = lambda e: e.estimate(problem, params, e.init(problem, params, key=KEY))[0].grad
    np.testing.assert_allclose(find(estimator), exact, rtol=1e-9)
    assert not np.allclose(find(unspool.NRES(1, 4, 0.1)), exact, rtol=0.1)


class Line(unspool.AbstractProblem):
    """Losses linear in the parameters; `size` as in `First`."""

    horizon: int = 2
    size: int = 1

    def init_params(self, *, key):
        return jnp.zeros(2)

    def init_state(self, params, *, key):
        return jnp.zeros(self.size)

    def step(self, params, state, t, *, key):
        return state, params[0]


@pytest.mark.parametrize("size", [1, 100], ids=["drawn again", "kept"])
def test_workers_and_episodes_share_no_noise(size):
    r"""The second entry of an estimate is the mean of $z_1 z_2$ over N workers: its variance is
    1/N in every update; episodes that follow one another have nothing in common."""
    num_workers, num_keys, episodes = 4, 4000, 4
    problem, estimator = Line(size=size), unspool.ESSingle(num_workers, 1, 0.1)
    params = jnp.zeros(2)

    def chain(key):
        estimate = lambda state, _: estimator.estimate(problem, params, state)[::-1]
        state = estimator.init(problem, params, key=key)
        return jax.lax.scan(estimate, state, length=2 * episodes)[1].grad[:, 1]

    grads = np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(KEY, num_keys)))
    np.testing.assert_allclose(grads[:, ::2], grads[:, 1::2], rtol=1e-9)
    products = grads[:, ::2, None] * grads[:, None, ::2]
    error = products.std(axis=0) / np.sqrt(num_keys)
    assert np.all(error < 0.1 / num_workers)
    assert np.all(np.abs(products.mean(axis=0) - np.eye(episodes) / num_workers) < 4.5 * error)
