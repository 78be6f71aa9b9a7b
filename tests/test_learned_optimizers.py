"""Learned optimizers: against loops in NumPy, against optax, and on any tree."""

import inspect
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from support.learned_optimizers import count, distance, normal, run, trees
from support.slow import slow
from unspool.problems import learned_optimizer
from unspool.problems.learned_optimizer import (
    AbstractLearnedOptimizer,
    FactoredMLP,
    Frozen,
    LearnedAdam,
    LearnedSGD,
    MLPOptimizer,
    factored_mlp,
)

NAMES = [
    name
    for name, kind in vars(learned_optimizer).items()
    if inspect.isclass(kind)
    and issubclass(kind, AbstractLearnedOptimizer)
    and not inspect.isabstract(kind)
]


def make(name):
    if name == "Frozen":
        inner = FactoredMLP()
        params = shake(inner.init_params(key=jax.random.key(0)))
        return Frozen(inner, params, ("network.layer0.bias", "log_rate"))
    return getattr(learned_optimizer, name)()


def shake(params):
    return jax.tree.map(lambda x: x + 0.1 * normal(x.shape, x.dtype), params)


def run_optax(optimizer, weights, gradients):
    state, path = optimizer.init(weights), []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, weights)
        weights = optax.apply_updates(weights, updates)
        path.append(weights)
    return path


def apply_layers(layers, values):
    """A network on the features of one weight, one product at a time."""
    for number, layer in enumerate(layers):
        if number > 0:
            values = [max(x, 0.0) for x in values]
        values = [
            float(bias) + sum(float(a) * x for a, x in zip(row, values, strict=True))
            for bias, row in zip(layer["bias"], layer["matrix"], strict=True)
        ]
    return values


def run_mlp(layers, weights, gradients):
    """`MLPOptimizer` as its specification has it."""
    decays = [0.1, 0.5, 0.9, 0.99, 0.999, 0.9999]
    scales = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000]
    path, weights = [], {name: np.array(w, float) for name, w in weights.items()}
    momenta = {name: [np.zeros(w.shape) for _ in decays] for name, w in weights.items()}
    for k, gradient in enumerate(gradients):
        for name, w in weights.items():
            g = np.array(gradient[name], float)
            for i, b in enumerate(decays):
                momenta[name][i] = b * momenta[name][i] + (1 - b) * g
            features = [x / math.sqrt(1e-5 + np.mean(x * x)) for x in (g, w, *momenta[name])]
            changed = w.copy()
            for index in np.ndindex(w.shape):
                own = [float(x[index]) for x in features]
                outputs = apply_layers(layers, own + [math.tanh(k / s - 1) for s in scales])
                changed[index] = w[index] - 1e-3 * outputs[0] * math.exp(1e-3 * outputs[1])
            weights[name] = changed
        path.append(dict(weights))
    return path


def rms(x):
    return math.sqrt(np.mean(x * x) + 1e-16)


def run_factored(params, momentum, weights, gradients):
    """`FactoredMLP` as its docstring has it, except that factors are kept, not the means of v."""
    layers = list(jax.device_get(params["network"]).values())
    rate = math.exp(params["log_rate"])
    path, weights = [], {name: np.array(w, float) for name, w in weights.items()}
    held = {n: [np.zeros(w.shape) for _ in range(7)] for n, w in weights.items()}
    for t, gradient in enumerate(gradients):
        for name, w in weights.items():
            g, memory = np.array(gradient[name], float), held[name]
            memory[0] = momentum * memory[0] + g
            for i, b in enumerate([0.9, 0.99, 0.999], 1):
                memory[i] = b * memory[i] + (1 - b) * g
            by_row = by_column = g * g
            if g.ndim > 1:
                by_row = np.repeat(np.mean(g * g, -1, keepdims=True), g.shape[-1], -1)
                by_column = np.repeat(np.mean(g * g, -2, keepdims=True), g.shape[-2], -2)
            for i, square in enumerate([g * g, by_row, by_column], 4):
                memory[i] = 0.999 * memory[i] + 0.001 * square
            m, *means, v, r, c = memory
            f = v
            if g.ndim > 1:
                f = r * c / (np.mean(r, (-2, -1), keepdims=True) + 1e-16)
            v, r, c, f = (np.sqrt(x + 1e-4 * np.mean(x) + 1e-16) for x in (v, r, c, f))
            features = [g, w, *means, *(x / f for x in (g, *means)), *(x / v for x in means)]
            features = [x / rms(x) for x in (*features, v, r, c, 1 / v, 1 / r, 1 / c)]
            changed = w.copy()
            for index in np.ndindex(w.shape):
                own = [float(x[index]) for x in features]
                time = [math.tanh(t / 10**power - 1) for power in range(6)]
                direction, magnitude = apply_layers(layers, own + time)
                scale = rate * math.exp(2 * math.tanh(magnitude / 2))
                changed[index] -= scale * (m[index] + rms(m) * direction)
            weights[name] = changed
        path.append(dict(weights))
    return path


def test_mlp_optimizer_is_that_of_its_specification(key, float64):
    optimizer, (weights, *gradients) = MLPOptimizer(), trees(3)
    params = optimizer.init_params(key=key)
    assert count(params) == 1762
    params = shake(params)
    found = run(optimizer, params, weights, gradients)
    layers = list(jax.device_get(params).values())
    assert distance(found, run_mlp(layers, weights, gradients)) < 1e-12
    assert distance(found, run_mlp(layers, weights, gradients[::-1])) > 1e-6


def test_factored_mlp_is_that_of_its_docstring(key, float64):
    optimizer, (weights, *gradients) = FactoredMLP(momentum=0.7), trees(3)
    for tree in weights, *gradients:
        tree["kernel"] = normal((2, 3, 2, 2))
    params = optimizer.init_params(key=key)
    assert count(params) == 291
    params = shake(params)
    found = run(optimizer, params, weights, gradients)
    assert distance(found, run_factored(params, 0.7, weights, gradients)) < 1e-12
    assert distance(found, run_optax(optax.sgd(0.1, 0.7), weights, gradients)) > 1e-3
    swapped = [jax.tree.map(np.transpose, tree) for tree in (weights, *gradients)]
    wrong = run_factored(params, 0.7, swapped[0], swapped[1:])
    assert distance(found, jax.tree.map(np.transpose, wrong)) > 1e-6


@pytest.mark.parametrize(
    ("optimizer", "same", "other"),
    [
        (LearnedSGD(0.3, 0.8), optax.sgd(0.3, 0.8), optax.sgd(0.3, 0.8, nesterov=True)),
        (
            LearnedAdam(0.01, 0.8, 0.99, 1e-6),
            optax.adam(0.01, 0.8, 0.99, 1e-6, eps_root=1e-8),
            optax.adam(0.01, 0.8, 0.99, 1e-6),
        ),
        (LearnedAdam(), optax.adam(1e-3, eps_root=1e-8), optax.adam(1e-3)),
        (FactoredMLP(0.3, 0.8), optax.sgd(0.3, 0.8), optax.sgd(0.3)),
        (FactoredMLP(0.3, 0.0, hidden=()), optax.sgd(0.3), optax.sgd(0.3, 0.1)),
    ],
)
def test_starts_as_the_optimizer_of_optax(optimizer, same, other, key, float64):
    weights, *gradients = trees(6)
    # Adam's number under the root shows where gradients are small; zeros are a case of their own.
    gradients = [{**tree, "matrix": 1e-4 * tree["matrix"]} for tree in gradients]
    gradients[0] = jax.tree.map(jnp.zeros_like, weights)
    found = run(optimizer, optimizer.init_params(key=key), weights, gradients)
    assert distance(found, run_optax(same, weights, gradients)) < 1e-14
    assert distance(found, run_optax(other, weights, gradients)) > 1e-6


def test_adam_in_float32_has_the_digits_of_float64(key):
    tree = jnp.array([1.0, -2.0])
    found = run(LearnedAdam(), LearnedAdam().init_params(key=key), tree, [tree] * 3)[-1]
    # Equal gradients make steps of the rate, but for the number under the root.
    exact = np.array([1.0, -2.0]) - 3e-3 * np.array([1, -2]) / np.sqrt(np.array([1, 4]) + 1e-8)
    assert np.max(np.abs(found / exact - 1)) < 2e-7


def any_tree(dtype):
    kernel = {"deep": normal((3, 3, 2, 5), dtype), "none": None}
    return {"a": normal((), dtype), "b": [normal(3, dtype), normal((2, 4), dtype)], "c": (kernel,)}


@pytest.mark.parametrize("dtype", ["float32", slow("float64")])
@pytest.mark.parametrize(
    "name", [slow(name, when=name in {"Frozen", "FactoredMLP"}) for name in NAMES]
)
def test_any_tree_keeps_its_structure_and_types(name, dtype, key):
    with jax.enable_x64(dtype == "float64"):
        optimizer, weights, gradients = make(name), any_tree(dtype), any_tree(dtype)
        params = optimizer.init_params(key=key)
        assert {x.dtype.name for x in jax.tree.leaves(params)} == {dtype}
        state = optimizer.init(weights)
        arguments = params, gradients, state, weights, jnp.array(3)
        described = jax.eval_shape(lambda *x: x, weights, state)
        assert eqx.filter_eval_shape(optimizer.update, *arguments) == described
        eager = optimizer.update(*arguments)
        compiled = eqx.filter_jit(optimizer.update)(*arguments)
        assert distance(eager, compiled) < (1e-6 if dtype == "float32" else 1e-14)
        assert distance(eager[0], jax.tree.map(jnp.zeros_like, weights)) > 1e-5


def derivatives_are_finite(optimizer, params):
    """Whether two steps without gradients have derivatives in everything."""
    weights = any_tree("float32")
    zeros = jax.tree.map(jnp.zeros_like, weights)

    def total(params, gradients, weights):
        last = run(optimizer, params, weights, [gradients] * 2)[-1]
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(last))

    found = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(params, zeros, weights)
    return all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(found))


def is_equivariant(optimizer, params):
    """Whether tensors in another order, with other names, are changed as before."""
    weights, gradients = ([normal(3), normal((2, 4)), normal(()), normal(3)] for _ in range(2))
    renamed = lambda tree: {f"name{9 - index}": x for index, x in enumerate(tree)}
    found = run(optimizer, params, weights, [gradients] * 2)
    other = run(optimizer, params, renamed(weights), [renamed(gradients)] * 2)
    return distance([renamed(tree) for tree in found], other) < 1e-6


@pytest.mark.parametrize("name", [slow(name, when=name == "Frozen") for name in NAMES])
def test_zero_gradients_and_the_order_of_tensors(name, key):
    optimizer = make(name)
    params = shake(optimizer.init_params(key=key))
    assert derivatives_are_finite(optimizer, params)
    assert is_equivariant(optimizer, params)


@pytest.mark.parametrize("size", [1.0, 1e-12, 1e-16])
def test_second_moments_of_rank_one_are_their_own_factors(size):
    """But for what keeps a zero from being divided by."""
    second = size * jnp.outer(jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 3.0]))
    row, column, factored = factored_mlp._factors(second)
    mean = size * 14 / 3
    np.testing.assert_allclose(factored, second * (mean / (mean + 1e-16)), rtol=1e-5)
    np.testing.assert_allclose(row * column, second * mean, rtol=1e-5)


class Naive(AbstractLearnedOptimizer):
    """Divides by norms that may be zero, and makes the first tensor's steps for all."""

    def init_params(self, *, key):
        return jnp.ones(())

    def init(self, weights):
        return ()

    def update(self, params, gradients, state, weights, t):
        norm = jnp.sqrt(jnp.sum(jax.tree.leaves(gradients)[0] ** 2))
        return jax.tree.map(lambda g: -params * norm * g, gradients), state


def test_a_naive_optimizer_passes_neither():
    assert not derivatives_are_finite(Naive(), jnp.ones(()))
    assert not is_equivariant(Naive(), jnp.ones(()))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LearnedSGD(0.0), "learning_rate must be above 0.0 and below inf, got 0.0"),
        (lambda: LearnedSGD(momentum=1.0), "momentum must be above 0.0 and below 1.0, got 1.0"),
        (lambda: LearnedAdam(b1=0.0), "b1 must be above 0.0 and below 1.0, got 0.0"),
        (lambda: LearnedAdam(b2=1.0), "b2 must be above 0.0 and below 1.0, got 1.0"),
        (lambda: LearnedAdam(eps=0.0), "eps must be above 0.0 and below inf, got 0.0"),
        (lambda: FactoredMLP(-1.0), "learning_rate must be above 0.0 and below inf, got -1.0"),
        (lambda: FactoredMLP(momentum=1.0), "momentum must be from 0 and below 1, got 1.0"),
        (
            lambda: FactoredMLP(hidden=(8, 0)),
            r"hidden\[1\] must be an integer of at least 1, got 0",
        ),
    ],
)
def test_what_is_wrong_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
