"""Environments whose physics is JAX: as their own loop has them, ends, types, derivatives."""

import contextlib
import importlib.util
import io
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.slow import slow
from unspool._random import Purpose, stream
from unspool.problems.control import BraxEnvironment, JaxEnvironment, MLPPolicy

pytestmark = [
    pytest.mark.filterwarnings("ignore:JAXopt is no longer maintained:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Accessing `.*` directly from `.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Brax System, piplines and env:UserWarning"),
]
needs_brax = pytest.mark.skipif(not importlib.util.find_spec("brax"), reason="needs brax")
needs_mjx = pytest.mark.skipif(not importlib.util.find_spec("mujoco.mjx"), reason="needs mjx")


@pytest.fixture
def broadcasting():
    """These libraries broadcast as they please."""
    with jax.numpy_rank_promotion("allow"):
        yield


class State(eqx.Module):
    """As Brax and Playground have it."""

    data: Any
    obs: Any
    reward: Any
    done: Any
    metrics: Any
    info: Any


class Cart:
    """A cart that its action pulls; the episode ends where the track does.

    It begins with numbers of other types than those that it goes on with, as some do.
    """

    action_size, observation_size = 2, 3
    dictionary = True

    def reset(self, rng):
        rng, key = jax.random.split(rng)
        data = jnp.array([jax.random.normal(key), 0.0])
        return State(data, self._look(data), 0, False, {"steps": 0, "pulled": 0}, {"rng": rng})

    def step(self, state, action):
        rng, key = jax.random.split(state.info["rng"])
        x, speed = state.data
        speed = speed + 0.3 * jnp.sum(action) + 0.1 * jax.random.normal(key)
        data = jnp.stack([x + speed, speed])
        done = jnp.where(jnp.abs(data[0]) > 3, 1.0, 0.0)
        metrics = {"steps": state.metrics["steps"] + 1, "pulled": jnp.sum(action)}
        return State(data, self._look(data), 1 - jnp.abs(data[0]), done, metrics, {"rng": rng})

    def _look(self, data):
        seen = jnp.append(data, 1.0)
        return {"state": seen, "privileged_state": jnp.zeros(7)} if self.dictionary else seen


def episode_keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def plain_episode(environment, key, act, horizon):
    """Losses and observations from a loop as anyone would write it."""
    reset, step = jax.jit(environment.reset), jax.jit(environment.step)
    state = reset(stream(key, Purpose.START))
    losses, seen = np.zeros(horizon), []
    for t in range(horizon):
        state = step(state, act(state.obs))
        losses[t] = -state.reward
        seen.append(np.array(jax.tree.leaves(state.obs)[-1]))
        if state.done:
            break
    return losses, seen[-1]


def running_totals(problem, params, keys):
    """The total losses of episodes after each step, and the last states."""
    engine = unspool.LocalEngine(problem)

    def step(trajectories, _):
        trajectories, losses = engine.unroll(params, trajectories, 1)
        return trajectories, losses[0]

    @jax.jit
    def run(keys):
        trajectories = engine.start(params, keys)
        return jax.lax.scan(step, trajectories, length=problem.horizon)

    trajectories, losses = run(keys)
    return np.cumsum(losses.T, axis=1), jax.tree.map(lambda x: x[0], trajectories)


@pytest.mark.slow
@needs_brax
def test_brax_is_played_as_in_its_own_loop(broadcasting):
    """To the last bit of every reward, and episodes end where it says."""
    keys, horizon = episode_keys(3), 25
    problem = BraxEnvironment("inverted_pendulum", horizon=horizon)
    weights = jnp.array([[1.0, 0.0, 1.0, 0.0]])
    assert problem.init_params(key=keys[0]).shape == weights.shape
    act = lambda observation: weights @ observation
    totals, last = running_totals(problem, weights, keys)
    for row, key in enumerate(keys):
        losses, seen = plain_episode(problem.inner.environment, key, act, horizon)
        np.testing.assert_array_equal(totals[row], np.cumsum(losses))
        np.testing.assert_allclose(last.arms.state.obs[row], seen, rtol=1e-3, atol=1e-4)
        assert last.arms.done[row]
    assert len(set(totals[:, -1].tolist())) > 1


@pytest.mark.slow
@needs_brax
def test_what_resets_itself_is_stopped_before(broadcasting):
    """The wrappers of `brax.envs.create` end episodes by time, and begin new ones."""
    with contextlib.redirect_stdout(io.StringIO()):
        import brax.envs
    environment = brax.envs.create("fast", episode_length=5)
    problem = JaxEnvironment(environment, 9, MLPPolicy(()))
    params = [{"bias": jnp.ones(1), "weights": jnp.zeros((1, 2))}]
    totals, last = running_totals(problem, params, episode_keys(2))
    # The reward is how far it is, going faster by the same with every step.
    places = np.cumsum(np.arange(1, 6)) * 0.02**2
    expected = -np.cumsum([*places, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(totals, [expected] * 2, rtol=1e-5)
    assert last.arms.done.all()


@pytest.mark.slow
@needs_brax
def test_brax_is_learned_in_one_program(broadcasting):
    """Perturbed poles stand longer after the first updates than at the first."""
    problem = BraxEnvironment("inverted_pendulum", horizon=90)
    estimator = unspool.NRES(8, 30, 1.0)
    records = unspool.train(
        problem, estimator, optax.adam(0.3), num_updates=9, key=jax.random.key(0), log_every=3
    )
    first, *_, last = [record.loss for record in records]
    assert last < first - 0.1


@needs_brax
def test_brax_has_no_such_name():
    with pytest.raises(ValueError, match="no 'pogo'"):
        BraxEnvironment("pogo")
    with pytest.raises(ValueError, match="backend 'cardboard'"):
        BraxEnvironment(backend="cardboard")


@pytest.mark.parametrize("dictionary", [True, slow(False)])
def test_leaves_keep_their_types_and_last_rewards_count(dictionary):
    environment, horizon, keys = Cart(), 8, episode_keys(6)
    environment.dictionary = dictionary
    problem = JaxEnvironment(environment, horizon)
    weights = jnp.array([[1.0, 0.2, 0.1], [0.3, 0.0, 0.4]])
    assert problem.init_params(key=keys[0]).shape == weights.shape
    unspool.LocalEngine(problem).check(weights)
    totals, last = running_totals(problem, weights, keys)
    act = lambda observation: weights @ (observation["state"] if dictionary else observation)
    lengths = set()
    for row, key in enumerate(keys):
        losses, _ = plain_episode(environment, key, act, horizon)
        np.testing.assert_allclose(totals[row], np.cumsum(losses), rtol=1e-5)
        lengths.add(int(last.arms.state.metrics["steps"][row]))
        assert lengths <= {np.flatnonzero(losses)[-1] + 1, *lengths}
    assert len(lengths) > 2 and last.arms.done.all()
    assert last.arms.state.metrics["steps"].dtype == jnp.int32
    assert last.arms.state.metrics["pulled"].dtype == jnp.float32


@pytest.mark.parametrize(
    "estimator",
    [unspool.NRES(4, 3, 0.1), slow(unspool.TruncatedES(4, 3, 0.1)), slow(unspool.BPTT(4))],
)
def test_estimators_of_all_kinds_run(estimator):
    problem = JaxEnvironment(Cart(), 8, MLPPolicy((4,)), clip_actions=True)
    (last,) = unspool.train(
        problem, estimator, optax.sgd(0.01), num_updates=3, key=jax.random.key(0), log_every=3
    )
    assert last.dropped == 0 and last.grad_norm > 0
    assert all(np.all(np.isfinite(x)) for x in jax.tree.leaves(last.params))


def test_actions_are_clipped_when_asked():
    pulled = []
    for clip in (False, True):
        problem = JaxEnvironment(Cart(), 1, clip_actions=clip)
        _, last = running_totals(problem, 50 * jnp.ones((2, 3)), episode_keys(1))
        pulled.append(abs(float(last.arms.state.metrics["pulled"][0])))
    assert pulled[0] > 2 and pulled[1] == 2


def test_losses_have_derivatives():
    """Where the physics has: reverse mode agrees with finite differences."""
    engine = unspool.LocalEngine(JaxEnvironment(Cart(), 4))
    keys = episode_keys(1)

    def total(params):
        return jnp.sum(engine.unroll(params, engine.start(params, keys), 4)[1])

    params = jnp.array([[-0.5, -0.2, 0.1], [-0.3, 0.0, 0.2]])
    gradient = jax.jit(jax.grad(total))(params)
    step = jnp.zeros((2, 3)).at[0, 1].set(0.01)
    slope = (total(params + step) - total(params - step)) / 0.02
    assert np.all(np.isfinite(gradient)) and abs(slope) > 0.1
    np.testing.assert_allclose(gradient[0, 1], slope, rtol=1e-2)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="reset, step"):
        JaxEnvironment(object())
    with pytest.raises(ValueError, match="horizon.*got 0"):
        JaxEnvironment(Cart(), 0)

    class Blind(Cart):
        def _look(self, data):
            return {"pixels": data}

    with pytest.raises(ValueError, match='called "state"; there are pixels'):
        JaxEnvironment(Blind()).init_params(key=jax.random.key(0))


PENDULUM = """
<mujoco><option timestep="0.02"/><worldbody><body><joint name="hinge" axis="0 1 0"/>
<geom type="capsule" size="0.05" fromto="0 0 0 0 0 1" contype="0" conaffinity="0"/>
</body></worldbody>
<actuator><motor joint="hinge" gear="5"/></actuator></mujoco>
"""


class Balance:
    """A pole on MuJoCo's JAX physics, written as MuJoCo Playground writes its environments."""

    action_size = 1

    def __init__(self):
        import mujoco
        from mujoco import mjx

        self.mjx = mjx
        self.model = mjx.put_model(mujoco.MjModel.from_xml_string(PENDULUM))

    def reset(self, rng):
        data = self.mjx.make_data(self.model)
        data = data.replace(qpos=jax.random.uniform(rng, (1,), minval=-0.1, maxval=0.1))
        data = self.mjx.forward(self.model, data)
        zero = jnp.zeros(())
        return State(data, {"state": self._look(data)}, zero, zero, {}, {"rng": rng})

    def step(self, state, action):
        data = self.mjx.step(self.model, state.data.replace(ctrl=action))
        done = (jnp.abs(data.qpos[0]) > 1).astype(float)
        seen = {"state": self._look(data)}
        return State(data, seen, jnp.cos(data.qpos[0]), done, {}, state.info)

    def _look(self, data):
        return jnp.concatenate([data.qpos, data.qvel])


@pytest.mark.slow
@needs_mjx
def test_an_environment_like_those_of_playground(broadcasting):
    with contextlib.redirect_stdout(io.StringIO()):
        environment = Balance()
    keys, horizon = episode_keys(2), 40
    problem = JaxEnvironment(environment, horizon)
    weights = jnp.array([[0.3, 0.1]])
    act = lambda observation: weights @ observation["state"]
    totals, last = running_totals(problem, weights, keys)
    for row, key in enumerate(keys):
        losses, seen = plain_episode(environment, key, act, horizon)
        np.testing.assert_allclose(totals[row], np.cumsum(losses), rtol=1e-4)
    assert last.arms.done.all() and np.all(totals[:, -1] < -5)
