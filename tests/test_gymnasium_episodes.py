"""Episodes of Gymnasium: what counts where they end, who resets them, and which fail."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.gymnasium_walk import (
    WALK,
    Walk,
    environment_seeds,
    episode_keys,
    gymnasium,
    plain_losses,
    running_totals,
    spaces,
    walk,
)
from unspool.problems import EarlyEnd
from unspool.problems.control import GymnasiumProblem


class ShowsNextEpisode(gymnasium.Wrapper):
    """Resets itself with the last step of an episode, and shows the next one's start."""

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            observation, info = self.env.reset()
        return observation, reward, terminated, truncated, info


class ReportsLate(gymnasium.Wrapper):
    """Takes a further step to reset itself, and reports the end with it."""

    waits = False

    def reset(self, *, seed=None, options=None):
        self.waits = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action):
        if self.waits:
            observation, info = self.env.reset()
            return observation, 1000.0, True, False, info
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.waits = terminated or truncated
        return observation, reward, False, False, info


class Failing(Walk):
    """Breaks in the third step of every second episode."""

    def reset(self, *, seed=None, options=None):
        self.breaks = seed % 2 == 1
        return super().reset(seed=seed)

    def step(self, action):
        if self.breaks and self.t == 2:
            raise RuntimeError("the motor is broken")
        return super().step(action)


class Tank(gymnasium.Env):
    """`EarlyEnd`, with the inflow as the action: the policy's two weights are its parameters."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    # A last step that is worth much, so that it matters whether it counts.
    problem = EarlyEnd(goal=3.0)

    def reset(self, *, seed=None, options=None):
        self.level, self.t = 0.0, 0
        return self._look(), {}

    def step(self, action):
        filling = self.t < self.problem.filling
        self.level += action[0] if filling else -self.problem.drain
        self.t += 1
        loss = 0.5 * (self.level - self.problem.goal) ** 2
        done = self.t >= self.problem.filling and self.level <= 0
        return self._look(), -loss, done, False, {}

    def _look(self):
        return np.array([1.0, self.t / self.problem.horizon])


ENVIRONMENTS = {
    "WalkAutoreset": lambda: gymnasium.wrappers.Autoreset(Walk()),
    "WalkShowsNext": lambda: ShowsNextEpisode(Walk()),
    "WalkReportsLate": lambda: ReportsLate(Walk()),
    "WalkTruncated": lambda: gymnasium.wrappers.TimeLimit(Walk(), 4),
    "Failing": Failing,
    "Tank": Tank,
}
for name, entry in ENVIRONMENTS.items():
    gymnasium.register(f"unspool/{name}-v0", entry_point=entry)


@pytest.mark.parametrize("name", ["Walk", "WalkAutoreset", "WalkShowsNext", "WalkTruncated"])
def test_nothing_of_the_next_episode_counts(name):
    """The last step counts, and no other after it, whether the environment resets itself."""
    keys = episode_keys(6)
    act = lambda observation: WALK @ observation
    bare = "WalkTruncated" if name == "WalkTruncated" else "Walk"
    seeds = environment_seeds(keys)
    plain = [plain_losses(f"unspool/{bare}-v0", seed, act, 12) for seed in seeds]
    totals, done, _ = running_totals(walk(name), jnp.array(WALK), keys, [5, 5, 2])
    np.testing.assert_allclose(totals, np.cumsum(plain, axis=1)[:, [4, 9, 11]], rtol=1e-6)
    assert done.all() and len(set(totals[:, -1])) == 6


def test_the_step_that_only_resets_does_not_count():
    keys, windows = episode_keys(6), [5, 5, 2]
    usual, _, _ = running_totals(walk("Walk"), jnp.array(WALK), keys, windows)
    late = walk("WalkReportsLate", dead_last_step=True)
    totals, done, _ = running_totals(late, jnp.array(WALK), keys, windows)
    np.testing.assert_array_equal(totals, usual)
    assert done.all()
    wrong, _, _ = running_totals(walk("WalkReportsLate"), jnp.array(WALK), keys, windows)
    np.testing.assert_allclose(wrong[:, -1], usual[:, -1] - 1000.0, rtol=1e-5)


@pytest.mark.slow
def test_training_does_not_see_who_resets():
    def trained(name):
        *_, last = unspool.train(
            walk(name), unspool.NRES(4, 3, 0.1), optax.sgd(0.01), num_updates=12,
            key=jax.random.key(1), log_every=4,
        )  # fmt: skip
        return last.params, last.loss

    params, loss = trained("Walk")
    assert np.abs(params).max() > 1e-3
    for name in ("WalkAutoreset", "WalkShowsNext"):
        other, other_loss = trained(name)
        np.testing.assert_array_equal(other, params)
        assert other_loss == loss


def test_an_environment_that_fails_is_alone_with_it():
    keys = episode_keys(8)
    act = lambda observation: WALK @ observation
    seeds = environment_seeds(keys)
    plain = [plain_losses("unspool/Walk-v0", seed, act, 12).sum() for seed in seeds]
    totals, _, engine = running_totals(walk("Failing"), jnp.array(WALK), keys, [12])
    # An episode of two steps would be over before; there is none.
    broken = np.array(seeds) % 2 == 1
    assert 0 < broken.sum() < 8
    np.testing.assert_allclose(totals[:, 0], np.where(broken, np.nan, plain), rtol=1e-6)
    assert len(engine.failures) == broken.sum()
    assert "RuntimeError: the motor is broken" in engine.failures[-1]
    assert __file__ in engine.failures[-1]
    records = unspool.train(
        engine, unspool.NRES(8, 6, 0.1), optax.sgd(0.01), num_updates=4, key=keys[0],
        log_every=4, throw=False,
    )  # fmt: skip
    (last,) = records
    assert 0 < last.dropped < 4 * 8 and np.all(np.isfinite(last.params))


def bias_in_standard_errors(problem, estimator, params, num_chains=30):
    """How far chains of estimates are from the gradient of `EarlyEnd`, as `check_unbiased` says."""
    early = Tank.problem
    engine = unspool.HostEngine(problem)
    num_windows = estimator.plan(early.horizon).num_windows
    running_in, num_estimates = 3 * num_windows, 2 * num_windows

    @jax.jit
    def run(keys):
        def estimate(workers, _):
            estimate, workers = estimator.estimate(engine, params, workers)
            return workers, (estimate.grad, estimate.stats["episodes"])

        def chain(_, key):
            workers = estimator.init(engine, params, key=key)
            _, found = jax.lax.scan(estimate, workers, length=running_in + num_estimates)
            grads, episodes = jax.tree.map(lambda x: jnp.sum(x[running_in:], axis=0), found)
            return None, (grads / num_windows, episodes / estimator.num_workers)

        return jax.lax.scan(chain, None, keys)[1]

    grads, episodes = jax.device_get(run(episode_keys(num_chains, seed=7)))
    exact = early.exact_gradient(params[0], estimator.plan(early.horizon).target)
    deviation = grads[:, 0] - np.outer(episodes, exact)
    return deviation.mean(0) / (deviation.std(0, ddof=1) / math.sqrt(num_chains))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [unspool.NRES, unspool.PES])
def test_gradients_are_right_though_arms_end_at_different_times(kind):
    params, estimator = jnp.array([[0.4, 0.2]]), kind(10, 5, 0.2)
    tank = GymnasiumProblem("unspool/Tank-v0", horizon=Tank.problem.horizon)
    assert np.all(np.abs(bias_in_standard_errors(tank, estimator, params)) < 3.5)
    # Without the loss of an episode's last step they are not.
    wrong = GymnasiumProblem(tank.id, horizon=tank.horizon, dead_last_step=True)
    assert np.any(np.abs(bias_in_standard_errors(wrong, estimator, params)) > 5)
