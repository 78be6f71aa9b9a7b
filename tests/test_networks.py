"""Parameters that hold more than what is trained: networks of any library, and plain trees."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import flax.linen
import haiku
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import unspool
from support.slow import slow
from unspool import export
from unspool._estimator.sigma import as_scale, as_sigma, spread_scale
from unspool._random import Purpose, numbered, stream
from unspool.cli.__main__ import main
from unspool.problems.learned_optimizer import AbstractLearnedOptimizer

KEY = jax.random.key(0)
INPUT = jnp.array([0.5, -1.0])


def is_trained(x):
    return eqx.is_array(x) and jnp.issubdtype(x.dtype, jnp.floating)


def make_mixture(key):
    """A module in a dictionary, with leaves of all kinds that are not trained."""
    tanh, dropout = eqx.nn.Lambda(jnp.tanh), eqx.nn.Dropout(0.5, inference=True)
    layers = [eqx.nn.Linear(2, 2, key=key), tanh, dropout]
    return {
        "network": eqx.nn.Sequential(layers),
        "scale": jnp.array(0.5),
        "power": 2,
        "offset": jnp.array([3, 4]),
        "mask": np.array([True, False]),
        "nothing": None,
        "name": "mine",
        "key": jax.random.key(5),
    }


def apply_mixture(params, x):
    assert params["power"] == 2 and isinstance(params["power"], int)
    assert params["nothing"] is None and params["name"] == "mine"
    assert params["offset"].dtype == jnp.int32 and params["mask"].dtype == bool
    draw = jax.random.uniform(params["key"], (2,))
    out = params["scale"] * params["network"](x) ** params["power"] + 0.1 * params["offset"]
    return out + jnp.where(params["mask"], draw, 0.0)


class Moves(unspool.AbstractProblem):
    """A state that is moved by a network."""

    make: Callable = eqx.field(static=True)
    apply: Callable = eqx.field(static=True)
    horizon: int = 2

    def init_params(self, *, key):
        return self.make(key)

    def init_state(self, params, *, key):
        return 0.1 * self.apply(params, INPUT)

    def step(self, params, state, t, *, key):
        state = state + 0.1 * self.apply(params, state) + 0.01 * jax.random.normal(key, (2,))
        return state, jnp.sum(state**2)


MIXED = Moves(make_mixture, apply_mixture)
MIXTURE = MIXED.init_params(key=KEY)
FLOATS, REST = eqx.partition(MIXTURE, is_trained)


def from_floats(floats, x):
    floats = jax.tree.unflatten(jax.tree.structure(FLOATS), floats)
    return apply_mixture(eqx.combine(floats, REST), x)


PLAIN = Moves(lambda key: jax.tree.leaves(FLOATS), from_floats)
"""The same, for parameters that are a list of the arrays alone."""

ESTIMATORS = {
    "NRES": unspool.NRES(2, 1, 0.1),
    "ControlledGPES": unspool.ControlledGPES(2, 2, 1, 0.1),
    "DODGE": unspool.DODGE(2, 2),
    "TBPTT": unspool.TBPTT(2, 2),
    "UORO": unspool.UORO(2, 2),
}
"""Each kernel, with what it carries of the size of the parameters."""


def estimate(estimator, problem, params):
    return estimator.estimate(problem, params, estimator.init(problem, params, key=KEY))[0]


@pytest.mark.parametrize("name", [slow(name, when=name != "UORO") for name in ESTIMATORS])
def test_estimates_are_those_for_the_arrays_alone(name):
    found = estimate(ESTIMATORS[name], MIXED, MIXTURE)
    expected = estimate(ESTIMATORS[name], PLAIN, jax.tree.leaves(FLOATS))
    assert jax.tree.structure(found.grad) == jax.tree.structure(FLOATS)
    for x, y in zip(jax.tree.leaves(found.grad), expected.grad, strict=True):
        # Two programs, which may round differently.
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-7)
        assert jnp.any(x != 0)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x):
        return jnp.tanh(self.linear(x))


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return jnp.tanh(flax.linen.Dense(2)(x))


HAIKU = haiku.without_apply_rng(haiku.transform(lambda x: jnp.tanh(haiku.Linear(2)(x))))
GRAPH = nnx.split(Net(nnx.Rngs(0)))[0]
LIBRARIES = {
    "nnx": (lambda key: nnx.split(Net(nnx.Rngs(key)))[1], lambda p, x: nnx.merge(GRAPH, p)(x)),
    "an nnx module": (lambda key: Net(nnx.Rngs(key)), lambda p, x: p(x)),
    "linen": (lambda key: Linen().init(key, INPUT), Linen().apply),
    "haiku": (lambda key: HAIKU.init(key, INPUT), HAIKU.apply),
}
# Of the only step of the only worker's first episode, which has number 1.
STEP_KEY = stream(numbered(stream(KEY, Purpose.DATA), 1), Purpose.STEP, 0)


@pytest.mark.parametrize(
    "library", [slow(name, when=name in {"linen", "haiku"}) for name in LIBRARIES]
)
def test_networks_of_every_library_are_trained_along_their_gradient(library):
    make, apply = LIBRARIES[library]
    problem = Moves(make, apply, horizon=1)
    params = problem.init_params(key=KEY)
    job = problem, unspool.BPTT(1), optax.sgd(0.1)
    (record,) = unspool.train(*job, num_updates=1, key=KEY, params=params)

    @jax.jit
    @jax.grad
    def gradient(params):
        state = 0.1 * apply(params, INPUT)
        state = state + 0.1 * apply(params, state) + 0.01 * jax.random.normal(STEP_KEY, (2,))
        return jnp.sum(state**2)

    moved = jax.tree.map(lambda x, g: x - 0.1 * g, params, gradient(params))
    for x, y in zip(jax.tree.leaves(record.params), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)
    assert jax.tree.structure(record.params) == jax.tree.structure(params)
    assert jnp.all(apply(record.params, INPUT) != apply(params, INPUT))


def same(one, other):
    """Whether two trees hold the same, functions and keys included."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.all(x == y) for x, y in pairs)


def test_a_run_goes_on_to_the_same_bits_with_the_whole_tree(tmp_path):
    job = MIXED, unspool.PES(2, 1, 0.1), optax.adam(0.1)
    *_, whole = unspool.train(*job, num_updates=4, key=KEY, log_every=2)
    unspool.Run.create(tmp_path, {})
    for num_updates in (2, 4):
        run = unspool.Run.open(tmp_path)
        *_, record = run.train(*job, num_updates=num_updates, key=KEY, log_every=2)
    assert run.checkpoints == [0, 2, 4]
    assert same(whole.params, record.params)
    assert same(whole.params, record.state.params)
    # All of it, with arrays of NumPy, and ready to be called.
    rest = eqx.filter(record.params, is_trained, inverse=True)
    assert same(rest, REST)
    assert not same(eqx.filter(record.params, is_trained), FLOATS)
    arrays = [x for x in jax.tree.leaves(record.params) if is_trained(x)]
    assert all(isinstance(x, np.ndarray) for x in arrays)
    found = unspool.evaluate(MIXED, record.params, key=KEY, num_episodes=3)
    as_plain = unspool.evaluate(PLAIN, arrays, key=KEY, num_episodes=3)
    assert found.loss == as_plain.loss
    # What is logged are the numbers that are trained.
    flat = np.concatenate([np.ravel(x) for x in arrays])
    np.testing.assert_array_equal(run.read_metrics()[-1].params, flat)


@pytest.mark.slow
def test_a_step_may_be_compiled_by_anyone():
    init, step = unspool.make_step(MIXED, unspool.FullES(2, 0.1), optax.adam(0.1))
    state = init(MIXTURE, key=KEY)
    assert same(state.params, MIXTURE)
    state, estimate = jax.jit(step)(state)
    # Adam's first step is one of 0.1 against the sign.
    by_hand = eqx.apply_updates(FLOATS, jax.tree.map(lambda g: -0.1 * jnp.sign(g), estimate.grad))
    for x, y in zip(jax.tree.leaves(state.trained), jax.tree.leaves(by_hand), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4)


def test_nothing_is_traced_again_for_another_network_of_the_kind():
    estimator, traces = unspool.FullES(2, 0.1), []

    def apply(params, x):
        traces.append(x)
        return apply_mixture(params, x)

    problem = Moves(make_mixture, apply)
    state = estimator.init(problem, MIXTURE, key=KEY)
    estimator.estimate(problem, MIXTURE, state)
    count = len(traces)
    other = make_mixture(jax.random.key(1)) | {"offset": jnp.array([5, 6])}
    estimator.estimate(problem, other, state)
    assert len(traces) == count
    # A negative control: what is static is part of the program.
    estimator.estimate(problem, MIXTURE | {"name": "mine", "more": 1}, state)
    assert len(traces) > count


def test_a_network_passes_the_test_of_bias_and_a_wrong_reference_does_not():
    options = {"key": KEY, "params": MIXTURE, "num_chains": 100}
    found = unspool.check_unbiased(MIXED, unspool.BPTT(2), **options)
    assert found.passed and found.z.size == 7
    assert np.all(found.standard_error < 0.1 * np.max(np.abs(found.reference)))
    wrong = jax.tree.map(lambda x: x + 0.3, FLOATS)
    assert not unspool.check_unbiased(MIXED, unspool.BPTT(2), reference=wrong, **options).passed


NO_LEAVES = [
    (jnp.array(1j), "must be an array of real floats, got complex64"),
    (1.5, r"must be an array of real floats, got float: jnp.array\(1.5\) is trained"),
    (np.array(["x"]), "must be made of numbers, booleans or keys, got <U1"),
    (np.array([{}]), "must be made of numbers, booleans or keys, got object"),
    ({1}, "must be an array or hashable to be carried along with the parameters, got set"),
    (jnp.array(jnp.nan), "must be finite"),
]


@pytest.mark.parametrize(("leaf", "message"), NO_LEAVES)
def test_a_leaf_that_cannot_be_carried_is_named(leaf, message):
    with pytest.raises(ValueError, match=r"^params\['a'\]\[0\] " + message):
        unspool.evaluate(MIXED, {"a": [leaf], "b": jnp.array(1.0)}, key=KEY)


def test_parameters_without_anything_to_train_are_refused():
    params = {"count": 3, "rows": jnp.arange(2)}
    with pytest.raises(ValueError, match=r"params\['count'\].*got int: there is nothing to train"):
        unspool.FullES(2, 0.1).init(MIXED, params, key=KEY)


def test_floats_of_python_are_trained_where_init_params_returns_them():
    engine = unspool.LocalEngine(Moves(lambda key: {"a": 0.5, "b": 2}, apply_mixture))
    made = engine.init_params(key=KEY)
    assert isinstance(made["a"], jax.Array) and made["a"] == 0.5
    assert isinstance(made["b"], int)
    # A field of a module is a setting.
    assert unspool.LocalEngine(MIXED).init_params(key=KEY)["network"].layers[2].p == 0.5


def scale_of(sigma):
    scale = as_scale(as_sigma(sigma))
    return spread_scale(scale.at(scale.stamp(scale.init(FLOATS), 0)), FLOATS)


def test_sigma_may_be_of_the_whole_tree_or_of_what_is_trained():
    scales = jax.tree.map(lambda x: 0.1 + 0.1 * x.size, FLOATS)
    whole = eqx.combine(scales, jax.tree.map(lambda _: 1.0, REST))
    for sigma in (scales, whole, lambda update: whole):
        assert same(scale_of(sigma), scales)
    assert same(scale_of(0.1), jax.tree.map(lambda x: jnp.array(0.1), FLOATS))
    with pytest.raises(ValueError, match="sigma must be a number, or a tree of the structure"):
        estimate(unspool.FullES(2, whole | {"scale": None}), MIXED, MIXTURE)


@dataclass(frozen=True)
class OnTheHost(unspool.AbstractHostProblem):
    """A state that a network of NumPy moves; its parameters are the network, or its arrays."""

    whole: bool
    horizon: int = 2

    def init_params(self, *, key):
        network = eqx.nn.Sequential([eqx.nn.Linear(2, 2, key=key), eqx.nn.Lambda(np.tanh)])
        if self.whole:
            return {"network": network, "power": 2, "offset": np.array([1, 2])}
        return network.layers[0].weight, network.layers[0].bias

    def init_state(self, params, *, seeds):
        return np.full((len(seeds), 2), 0.5)

    def step(self, params, state, t, *, seeds):
        power, activation, offset = 2, np.tanh, np.array([[1, 2]])
        if self.whole:
            linear, function = params["network"].layers
            weight, bias, activation = linear.weight, linear.bias, function.fn
            power, offset = params["power"], params["offset"]
            assert isinstance(power, int) and offset.shape == state.shape
        else:
            weight, bias = params
        out = activation(np.einsum("rij,rj->ri", weight, state) + bias)
        state = state + 0.1 * out**power + offset
        return state, np.sum(state**2, axis=1)


@pytest.mark.slow
def test_networks_go_to_the_host():
    settings = unspool.PES(2, 1, 0.1), optax.sgd(0.01)
    found, expected = (
        [*unspool.train(OnTheHost(whole), *settings, num_updates=2, key=KEY)][-1]
        for whole in (True, False)
    )
    arrays = [x for x in jax.tree.leaves(found.params) if is_trained(x)]
    assert same(arrays, [*expected.params]) and found.loss == expected.loss
    assert found.params["power"] == 2 and found.params["network"].layers[1].fn is np.tanh
    with pytest.raises(ValueError, match=r"params\['power'\] must be .* that NumPy knows, got key"):
        unspool.evaluate(OnTheHost(True), found.params | {"power": KEY}, key=KEY)


FILE = """
import equinox as eqx
import jax.numpy as jnp
import unspool
from unspool import export


class Follow(unspool.AbstractProblem):
    horizon: int = 4

    def init_params(self, *, key):
        return {"net": eqx.nn.MLP(1, "scalar", 2, 1, jnp.tanh, key=key), "count": 2}

    def init_state(self, params, *, key):
        return jnp.ones(1)

    def step(self, params, state, t, *, key):
        state = state / params["count"] + params["net"](state)
        return state, jnp.sum(state**2)
"""


@pytest.mark.slow
def test_the_command_line_trains_networks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    words = "train mine.py:Follow full-es --num-workers 2 --num-updates 1 --directory run"
    assert main([*words.split(), "--num-episodes", "0"]) == 0
    run = unspool.Run.open("run")
    last, names = run.read_metrics()[-1], run.config["parameter_names"]
    assert run.config["num_params"] == len(names) == len(last.params) == 7
    assert names[0] == "net.layers.0.weight[0][0]"
    assert names[0] in capsys.readouterr().out


class Learned(AbstractLearnedOptimizer):
    """A step that a network makes of the gradient."""

    def init_params(self, *, key):
        return {"network": eqx.nn.MLP("scalar", "scalar", 2, 1, jnp.tanh, key=key), "parts": 2}

    def init(self, weights):
        return ()

    def update(self, params, gradients, state, weights, t):
        step = lambda g: -jax.vmap(params["network"])(g) / params["parts"]
        return jax.tree.map(step, gradients), state


def test_a_learned_optimizer_that_is_a_network_is_written_and_read(tmp_path):
    params = Learned().init_params(key=KEY)
    export.save_optimizer(Learned(), params, tmp_path / "file")
    gradients = {"w": jnp.array([0.3, -2.0])}
    transformation = export.load_optimizer(tmp_path / "file", optimizer=Learned)
    steps, _ = transformation.update(gradients, transformation.init(gradients), gradients)
    expected = -jax.vmap(params["network"])(gradients["w"]) / 2
    np.testing.assert_allclose(steps["w"], expected, rtol=1e-6)
