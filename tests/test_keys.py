"""Every public function that takes a key takes any kind of one, and draws with threefry."""

import inspect
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.random import define_prng_impl

import unspool
import unspool.extend
from support.slow import slow
from unspool import export, problems
from unspool._random import Purpose, as_key, stream
from unspool.problems import Cubic, control, learned_optimizer, schedules


class Noisy(unspool.AbstractProblem):
    """Losses that are noise alone, of the start state and of each step."""

    horizon: int = 2

    def init_params(self, *, key):
        return jax.random.normal(key, (2,))

    def init_state(self, params, *, key):
        return jax.random.normal(key, (3,))

    def step(self, params, state, t, *, key):
        return state, state @ jax.random.normal(key, (3,)) + 0 * jnp.sum(params)


@dataclass(frozen=True)
class OnTheHost(unspool.AbstractHostProblem):
    horizon: int = 1

    def init_params(self, *, key):
        return jax.random.normal(key, (2,))

    def init_state(self, params, *, seeds):
        return params

    def step(self, params, state, t, *, seeds):
        return state, state[:, 0]


NOISY, FULL_ES = Noisy(), unspool.FullES(2, 0.1)
JOB = NOISY, FULL_ES, optax.sgd(0.1)
PARAMS = jnp.zeros(2)

PACKAGES = unspool, unspool.extend, export, problems, control, learned_optimizer, schedules


def curve(key):
    """Of a training whose weights and batches are noise."""
    draw = lambda key: {"w": jax.random.normal(key, (2,))}
    of_batch = lambda weights, batch: jnp.sum((batch[0] @ weights["w"]) ** 2)
    model = schedules.Model(draw, of_batch, of_batch, {})
    data = schedules.Data((np.eye(4, 2, dtype=np.float32),), (np.eye(2, dtype=np.float32),), 2)
    space = {"learning_rate": schedules.Constant(0.1)}
    problem = schedules.ModelTraining(model, data, optax.sgd, space, 3, schedules.ValidLoss())
    params = problem.init_params(key=jax.random.key(0))
    return schedules.learning_curve(problem, params, key=key).loss


CALLS = {
    "AbstractEstimator.init_workers": lambda key: FULL_ES.init_workers(NOISY, PARAMS, key=key),
    "AbstractEstimator.init": lambda key: FULL_ES.init(NOISY, PARAMS, key=key),
    "AbstractHostEngine.init_params": lambda key: unspool.HostEngine(OnTheHost()).init_params(
        key=key
    ),
    "JointProblem.init_params": lambda key: unspool.JointProblem([NOISY]).init_params(key=key),
    "LocalEngine.init_params": lambda key: unspool.LocalEngine(NOISY).init_params(key=key),
    "Run.train": None,  # Wants a directory: a test of its own.
    "Run.train_compiled": None,
    "reduce_rank": lambda key: unspool.reduce_rank(jnp.eye(3), jnp.eye(3), 1, key=key),
    "check_unbiased": lambda key: unspool.check_unbiased(
        Cubic(horizon=2), FULL_ES, key=key, num_chains=30
    )[2:6],
    "evaluate": lambda key: unspool.evaluate(NOISY, PARAMS, key=key, num_episodes=3),
    "learning_curve": curve,
    "make_step": lambda key: unspool.make_step(*JOB)[0](PARAMS, key=key),
    "train": lambda key: next(unspool.train(*JOB, num_updates=1, key=key)).params,
}
"""Each public function that takes a key, called with one."""

WRITTEN_BY_USERS = (
    unspool.AbstractProblem,
    unspool.AbstractBlackBox,
    unspool.extend.AbstractDirections,
    unspool.extend.AbstractPhases,
)
"""The library calls these, and with keys of its own."""

NO_KEYS = {
    "None": None,
    "an integer": 0,
    "a float": 1.5,
    "a text": "0",
    "an array of floats": jnp.zeros(2),
    "an array of integers": jnp.zeros(2, int),
    "too many words": jnp.zeros(3, jnp.uint32),
    "several old keys": jnp.zeros((2, 2), jnp.uint32),
    "several keys": jax.random.split(jax.random.key(0), 3),
}


def found_by_inspection() -> set[str]:
    """All exported functions, and methods of the classes of `unspool`, that take a `key`."""
    names = set()
    for thing in [value for package in PACKAGES for value in vars(package).values()]:
        if inspect.isclass(thing):
            if thing not in vars(unspool).values() or issubclass(thing, WRITTEN_BY_USERS):
                continue
            public = (name for name in dir(thing) if not name.startswith("_"))
            calls = [getattr(thing, name) for name in public]
        else:
            calls = [thing]
        for call in calls:
            # Not those of C, such as of exceptions, which have no signature.
            if not callable(call) or inspect.isbuiltin(call) or inspect.ismethoddescriptor(call):
                continue
            # Nor what has its key from `init` or `train`, which have looked at it.
            within = call.__name__ in ("init_part", "check_start")
            abstract = getattr(call, "__isabstractmethod__", False) or within
            if "key" in inspect.signature(call).parameters and not abstract:
                names.add(call.__qualname__)
    return names


def as_numbers(tree):
    """All leaves of a tree in NumPy, keys as their words."""
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    leaves = (jnp.asarray(x) for x in jax.tree.leaves(tree) if not isinstance(x, str))
    return [np.asarray(jax.random.key_data(x) if is_key(x) else x) for x in leaves]


def assert_same(one, other):
    for x, y in zip(as_numbers(one), as_numbers(other), strict=True):
        np.testing.assert_array_equal(x, y)


class Draws(unspool.AbstractProblem):
    """Notes what the start and every step have drawn."""

    horizon: int = 6

    def init_params(self, *, key):
        return jnp.zeros(())

    def init_state(self, params, *, key):
        return jnp.zeros(7).at[6].set(jax.random.normal(key))

    def step(self, params, state, t, *, key):
        return state.at[t].set(jax.random.normal(key)), jnp.zeros(())


def test_the_start_and_every_step_draw_something_else():
    engine = unspool.LocalEngine(Draws())
    rows = engine.start(jnp.zeros(()), jax.random.split(jax.random.key(0), 5))
    after, _ = engine.unroll(jnp.zeros(()), rows, 6)
    assert np.unique(np.asarray(after.arms.state)).size == 5 * 7


def test_all_that_take_a_key_are_known_here():
    # What `make_step` returns takes one too, and cannot be found by inspection.
    assert found_by_inspection() == set(CALLS) - {"make_step"}


@pytest.mark.parametrize(
    "name", [slow(name, when=name == "check_unbiased") for name, call in CALLS.items() if call]
)
def test_no_key_is_refused_and_an_old_one_taken(name):
    call = CALLS[name]
    for given in NO_KEYS.values():
        with pytest.raises(ValueError, match=r"^key must be .* such as jax.random.key\(0\), got"):
            call(given)
    expected = call(jax.random.key(3))
    assert_same(call(jax.random.PRNGKey(3)), expected)
    assert_same(call(np.array([0, 3], np.uint32)), expected)


def test_a_run_takes_the_same_keys(tmp_path):
    train = lambda name, key: next(
        unspool.Run.create(tmp_path / name, {}).train(*JOB, num_updates=1, key=key)
    )
    with pytest.raises(ValueError, match=r"jax.random.key\(0\), got None"):
        train("none", None)
    old = train("old", jax.random.PRNGKey(3))
    assert_same(old.params, CALLS["train"](jax.random.key(3)))


def test_bits_of_threefry_keys_are_what_they_were():
    key = jax.random.key(7)
    assert as_key(key) is key
    words = jax.random.key_data(jax.random.fold_in(key, 1)) ^ jnp.array([5, 9], jnp.uint32)
    assert_same(stream(key, Purpose.NOISE, 5, 9), jax.random.wrap_key_data(words))


OTHER = define_prng_impl(
    key_shape=(3,),
    seed=lambda seed: jnp.full(3, seed, jnp.uint32),
    split=lambda key, shape: jnp.zeros((*shape, 3), jnp.uint32),
    random_bits=lambda key, width, shape: jnp.zeros(shape, f"uint{width}"),
    fold_in=lambda key, data: key,
    name="constant",
    tag="constant",
)


@pytest.mark.parametrize("generator", ["rbg", "unsafe_rbg", OTHER], ids=["rbg", "unsafe", "own"])
def test_keys_of_other_generators_become_threefrys(generator):
    keys = jax.vmap(lambda seed: jax.random.key(seed, impl=generator))(jnp.arange(4))
    alone = [as_key(key) for key in keys]
    assert {jax.random.key_impl(key) for key in alone} == {"threefry2x32"}
    assert len({tuple(jax.random.key_data(key).tolist()) for key in alone}) == 4
    assert_same(jax.jit(jax.vmap(as_key))(keys), jnp.stack(alone))
    # Of one generator's words: an array of PRNGKey does not tell which of the two it was made by.
    if generator == "rbg":
        assert_same(as_key(jax.random.key_data(keys[1])), alone[1])


@pytest.mark.parametrize("generator", ["rbg", slow("unsafe_rbg")])
def test_draws_do_not_depend_on_the_neighbors(generator):
    keys = jax.random.split(jax.random.key(0, impl=generator), 4)
    engine = unspool.LocalEngine(NOISY)
    start = lambda keys: engine.unroll(PARAMS, engine.start(PARAMS, keys), 2)[1]
    every = start(keys)[0]
    np.testing.assert_array_equal(every[:2], start(keys[:2])[0])
    np.testing.assert_array_equal(every[2:], start(keys[2:])[0])
    # A negative control: mapped over, the generator itself gives the first of them other numbers.
    draw = jax.vmap(lambda key: jax.random.normal(key, (3,)))
    assert not np.array_equal(draw(keys)[2:], draw(keys[2:]))


def test_the_default_generator_does_not_matter():
    rbg = jax.random.key(3, impl="rbg")
    expected = [CALLS[name](rbg) for name in ("train", "evaluate")]
    with jax.default_prng_impl("rbg"):
        assert jax.random.key_impl(jax.random.key(3)) == "rbg"
        found = [CALLS[name](jax.random.key(3)) for name in ("train", "evaluate")]
        words = [CALLS[name](jax.random.PRNGKey(3)) for name in ("train", "evaluate")]
        usual = CALLS["evaluate"](jax.random.key(3, impl="threefry2x32"))
    assert_same(found, expected)
    assert_same(words, expected)
    assert_same(usual, CALLS["evaluate"](jax.random.key(3)))


def test_keys_are_taken_inside_of_compiled_functions():
    loss = lambda key: unspool.evaluate(NOISY, PARAMS, key=key, num_episodes=3).loss
    for key in (jax.random.PRNGKey(3), jax.random.key(3, impl="rbg")):
        np.testing.assert_allclose(jax.jit(loss)(key), loss(key), rtol=1e-6)
    with pytest.raises(ValueError, match=r"got an array of float32\[\]"):
        jax.jit(loss)(1.5)
