"""A learned optimizer as a transformation of optax: its steps, its types and its state."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from support.export import SMALL, TREES, init, same
from support.export import params as params
from unspool import export
from unspool.problems.learned_optimizer import MLPOptimizer, OptimizerTraining, Task
from unspool.problems.schedules import Data, Model

DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(60, 3)).astype(np.float32)
TARGETS = (INPUTS @ np.array([1.0, -2.0, 0.5])).astype(np.float32)


def loss(weights, batch):
    inputs, targets = batch
    return jnp.mean((inputs @ weights["matrix"] + weights["bias"] - targets) ** 2)


TASK = Task(
    Model(init, loss), Data((INPUTS[:40], TARGETS[:40]), (INPUTS[40:], TARGETS[40:]), batch_size=8)
)


def test_the_plain_loop_makes_the_steps_of_meta_training(params):
    problem = OptimizerTraining(SMALL, TASK, horizon=20)
    keys = jax.random.split(jax.random.key(1), 20)
    start = problem.init_state(params, key=jax.random.key(2))

    def inner(state, at):
        state, _ = problem.step(params, state, at[0], key=at[1])
        return state, state["weights"]

    _, expected = jax.jit(lambda: jax.lax.scan(inner, start, (jnp.arange(20), keys)))()
    transformation = export.as_optax(SMALL, params)

    @jax.jit
    def step(weights, state, batch):
        gradients = jax.grad(loss)(weights, batch)
        updates, state = transformation.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    weights = start["weights"]
    state = transformation.init(weights)
    for t in range(20):
        batch = TASK.data.draw_train(jax.random.split(keys[t])[0])
        weights, state = step(weights, state, batch)
        for name in weights:
            np.testing.assert_allclose(weights[name], expected[name][t], rtol=1e-6, atol=1e-7)
    assert int(state.count) == 20
    assert step._cache_size() == 1


@pytest.mark.parametrize("weights", TREES.values(), ids=TREES)
def test_any_tree_of_weights_keeps_its_types(weights, params):
    transformation = optax.chain(optax.clip(1.0), export.as_optax(SMALL, params), optax.scale(2.0))
    state = transformation.init(weights)
    update = jax.jit(transformation.update)
    for _ in range(2):
        updates, after = update(jax.tree.map(jnp.ones_like, weights), state, weights)
        kinds = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
        assert kinds(updates) == kinds(weights)
        assert kinds(after) == kinds(state)
        state = after
    assert update._cache_size() == 1
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state[1].optimizer))


def test_double_precision(float64, params):
    weights = init(jax.random.key(0))
    assert weights["matrix"].dtype == jnp.float64
    transformation = export.as_optax(SMALL, params)
    updates, _ = transformation.update(weights, transformation.init(weights), weights)
    assert updates["matrix"].dtype == jnp.float64


def test_half_precision_does_not_freeze_the_slow_momenta(params):
    """In bfloat16 a decay of 0.9999 would be one, and its momentum zero for ever."""
    transformation = export.as_optax(SMALL, params)
    weights = jnp.ones(2, jnp.bfloat16)
    _, state = transformation.update(weights, transformation.init(weights), weights)
    np.testing.assert_allclose(state.optimizer[-1], 1e-4, rtol=1e-3)


def test_a_saved_state_goes_on_to_the_same_bits(params):
    transformation = export.as_optax(SMALL, params)
    update = jax.jit(transformation.update)

    def go(weights, state, steps):
        for _ in range(steps):
            gradients = jax.grad(loss)(weights, TASK.data.train)
            updates, state = update(gradients, state, weights)
            weights = optax.apply_updates(weights, updates)
        return weights, state

    start = init(jax.random.key(0)), transformation.init(init(jax.random.key(0)))
    halfway = pickle.loads(pickle.dumps(jax.device_get(go(*start, 5))))
    same(go(*halfway, 5), go(*start, 10))


def test_weights_and_parameters_have_to_be_given(params):
    transformation = export.as_optax(SMALL, params)
    weights = init(jax.random.key(0))
    with pytest.raises(ValueError, match="params must be the weights"):
        transformation.update(weights, transformation.init(weights))
    with pytest.raises(ValueError, match=r"layer0.bias must be of shape \[32\], got .* \[4\]"):
        export.as_optax(MLPOptimizer(), params)
    with pytest.raises(ValueError, match="layer0.bias must be of shape .* got left out"):
        export.as_optax(SMALL, {"x": jnp.ones(3)})
