"""Every optimizer that optax exports: trained with, saved, gone on from, or refused in words."""

import functools as ft
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

import unspool
from support.slow import slow
from unspool import _programs
from unspool._config import names
from unspool._optimizer import (
    Told,
    as_optimizer,
    evaluation_params,
    start_optimizer,
)

KEY = jax.random.key(0)
RATE = 0.05
AT_ONCE, GROUPS = 12, 5
# They ask for the loss as a function of the parameters.
REFUSED = {"lbfgs", "sophia", "hutchinson_estimator_diag_hessian"}

TOLD = Told(jax.ShapeDtypeStruct((), jnp.float32), {}, None, 4)


def make(function):
    """The optimizer of a learning rate or less that a function of optax makes, if it does."""
    try:
        needed = [
            name
            for name, x in inspect.signature(function).parameters.items()
            if x.default is x.empty and x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)
        ]
    except ValueError:
        return None
    if needed not in ([], ["learning_rate"]):
        return None
    with warnings.catch_warnings():
        # Of keys that will have to be given, of names that will go.
        warnings.simplefilter("ignore")
        try:
            made = function(*(RATE for _ in needed))
        except (TypeError, ValueError):
            return None
    return made if isinstance(made, optax.GradientTransformation) else None


def exported():
    """All of them by name, found by looking: a new one is tested by itself.

    What they scale by is exported too, and left out for being tested with them.
    """
    return {
        name: made
        for module in (optax, optax.contrib)
        for name, value in sorted(vars(module).items())
        if inspect.isfunction(value)
        and not name.startswith(("_", "scale_by_"))
        and (made := make(value)) is not None
    }


def start():
    return jnp.linspace(-1.0, 1.0, 6).reshape(3, 2)


class Bowls(unspool.AbstractProblem):
    """A quadratic for each name, with gradients of known values and a loss of their sum."""

    names: tuple[str, ...] = ("bowl",)
    horizon: int = 1

    def init_params(self, *, key):
        return {name: start() for name in self.names}

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, sum(jnp.sum((x - 3) ** 2) / 2 for x in jax.tree.leaves(params))


@pytest.fixture
def optax_as_it_is():
    """Some of its optimizers broadcast, which the tests forbid everywhere else."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def working(optax_as_it_is):
    """Those that training takes; the others are refused in a sentence, and are known."""
    found, refused = {}, set()
    for name, optimizer in exported().items():
        try:
            jax.eval_shape(ft.partial(start_optimizer, optimizer, told=TOLD), start())
        except ValueError as error:
            assert str(error).startswith("optimizer cannot train these parameters (")
            refused.add(name)
        else:
            found[name] = optimizer
    assert refused <= REFUSED
    assert len(found) > 45
    return found


@pytest.mark.parametrize("place", [slow(place, when=place > 0) for place in range(GROUPS)])
def test_all_train_as_optax_says_and_go_on_to_the_same_bits(working, place, tmp_path):
    # Several in one training, each with parameters of its own: one program takes less time than
    # many, and one of all of them far more.
    names = sorted(working)
    assert len(names) <= GROUPS * AT_ONCE
    check_training({name: working[name] for name in names[place::GROUPS]}, tmp_path)


def check_training(working, directory):
    problem = Bowls(tuple(working))
    together = optax.partition(working, {name: name for name in working})
    run = unspool.Run.create(directory, {})
    options = dict(key=KEY, log_every=2, checkpoint_every=2)
    *_, whole = run.train(problem, unspool.BPTT(1), together, num_updates=4, **options)
    list(run.train(problem, unspool.BPTT(1), together, num_updates=4, resume_from=2, **options))
    like = jax.eval_shape(lambda: whole.state)
    resumed = unspool.load_checkpoint(directory / "checkpoints" / "4.npz", like)
    for (path, one), two in zip(
        jax.tree_util.tree_leaves_with_path(resumed.params),
        jax.tree.leaves(whole.state.params),
        strict=True,
    ):
        assert np.array_equal(one, two, equal_nan=True), path

    def by_hand(before, _):
        """An update with the gradient written out."""
        loss = sum(jnp.sum((x - 3) ** 2) / 2 for x in jax.tree.leaves(before[0]))
        params, states = {}, {}
        for name, optimizer in working.items():
            optimizer, old = optax.with_extra_args_support(optimizer), before[0][name]
            grad = jax.tree.map(lambda x: x - 3, old)
            updates, new = optimizer.update(grad, before[1][name], old, value=loss)
            params[name] = optax.apply_updates(old, updates)
            states[name] = jax.tree.map(lambda x, y: x.astype(y.dtype), new, before[1][name])
        return (params, states), None

    @jax.jit
    def alone():
        params = problem.init_params(key=KEY)
        states = {name: working[name].init(params[name]) for name in working}
        before = jax.tree.map(jnp.asarray, (params, states))
        (params, states), _ = jax.lax.scan(by_hand, before, length=4)
        return {name: evaluation_params(states[name], params[name]) for name in working}

    expected = alone()
    for name in working:
        # The one that adds to the gradient what it draws for the whole tree.
        if name == "noisy_sgd":
            continue
        np.testing.assert_allclose(
            whole.params[name], expected[name], rtol=2e-4, atol=2e-5, err_msg=name
        )


def test_the_command_line_has_those_of_a_learning_rate():
    for function in names.optimizers().values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # With its rate as an input, at whose value it cannot look.
            begin = lambda rate, function=function: start_optimizer(function(rate), start(), TOLD)
            jax.eval_shape(begin, RATE)
    assert {"adam", "momentum", "prodigy", "schedule-free-sgd"} < set(names.optimizers())


def anchored():
    """Keeps the parameters that it started from, the very same arrays."""

    def init(params):
        return {"anchor": params, "again": params, "count": jnp.zeros((), int)}

    def update(grad, state, params=None):
        pull = lambda g, p, a: -RATE * (g + 0.5 * (p - a))
        return jax.tree.map(pull, grad, params, state["anchor"]), state

    return optax.GradientTransformation(init, update)


def sharpness_aware():
    away = optax.chain(optax.contrib.normalize(), optax.sgd(0.2))
    return optax.contrib.sam(optax.sgd(RATE), away)


def train(optimizer, problem=None, num_updates=5):
    problem = Bowls() if problem is None else problem
    return list(
        unspool.train(
            problem, unspool.BPTT(1), optimizer, num_updates=num_updates, key=KEY, log_every=1
        )
    )


def test_a_state_that_is_the_parameters_is_no_trouble():
    last = train(anchored())[-1]
    expected, anchor = start(), start()
    for _ in range(5):
        expected = expected - RATE * (expected - 3 + 0.5 * (expected - anchor))
    np.testing.assert_allclose(last.params["bowl"], expected, rtol=1e-5)


def test_averaging_optimizers_report_the_average():
    """The iterates of plain descent and their running mean, by the definition of the method."""
    optimizer = optax.MultiSteps(optax.chain(optax.contrib.schedule_free_sgd(RATE, b1=0.5)), 1)
    last = train(optimizer)[-1]
    z = mean = np.asarray(start())
    for n in range(1, 6):
        z = z - RATE * ((z + mean) / 2 - 3)
        mean = mean + (z - mean) / n
    np.testing.assert_allclose(last.params["bowl"], mean, rtol=1e-5)
    trained = (mean + z) / 2
    np.testing.assert_allclose(last.state.params["bowl"], trained, rtol=1e-5)
    assert np.max(np.abs(trained - mean)) > 1e-3


def test_sharpness_aware_optimizers_report_where_they_are_and_not_where_they_look():
    records = unspool.train(
        Bowls(), unspool.BPTT(1), sharpness_aware(), num_updates=3, key=KEY, log_every=1
    )
    pairs = [(r.params["bowl"], np.array(r.state.params["bowl"])) for r in records]
    where, looked_at = zip(*pairs, strict=True)
    np.testing.assert_array_equal(where[0], start())
    assert np.max(np.abs(looked_at[0] - where[0])) > 1e-3
    np.testing.assert_array_equal(where[2], where[1])
    assert np.all(where[1] > where[0])


class Cliff(Bowls):
    """A loss that is a number only at the start."""

    def step(self, params, state, t, *, key):
        at_start = jnp.all(params["bowl"] == start())
        loss = super().step(params, state, t, key=key)[1]
        return state, jnp.where(at_start, loss, jnp.nan)


@pytest.mark.filterwarnings("ignore:Specifying a key:UserWarning")
def test_an_estimate_of_no_use_moves_nothing_of_the_optimizer():
    optimizer = optax.chain(
        optax.add_noise(0.1, 0.5, key=jax.random.key(3)), optax.adam(RATE), anchored()
    )
    init, step = unspool.make_step(Cliff(), unspool.BPTT(1), optimizer)
    state = init(Cliff().init_params(key=KEY), key=KEY)
    step = jax.jit(step)
    usable, estimate = step(state)
    assert estimate.result == unspool.RESULTS.successful
    unusable, estimate = step(usable)
    assert estimate.result == unspool.RESULTS.all_workers_dropped
    as_words = lambda x: (
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    before, after, first = (
        [np.asarray(as_words(x)) for x in jax.tree.leaves((s.params, s.optimizer))]
        for s in (usable, unusable, state)
    )
    assert all(map(np.array_equal, before, after))
    assert sum(not np.array_equal(x, y) for x, y in zip(first, before, strict=True)) > 5


def spreads():
    """An update that would be broadcast to the shape of the parameters."""
    update = lambda grad, state, params=None: (jax.tree.map(jnp.sum, grad), state)
    return optax.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.lbfgs(), "optimizer cannot train these parameters .*'value_fn'"),
        (optax.contrib.sophia(RATE), "optimizer cannot train .*obj_fn must be provided"),
        (optax.contrib.sam(optax.sgd(1.0), optax.sgd(1.0), opaque_mode=True), "grad_fn must be"),
        (spreads(), r"an update is of shape \(\), its parameters of"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(optimizer, message):
    with pytest.raises(ValueError, match=message) as caught:
        train(optimizer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.adam, r"must be an optax optimizer.*not called yet: adam\(...\) makes one"),
        (optax.MultiSteps, r"not called yet: MultiSteps\(...\) makes one"),
        (ft.partial(optax.adam, 0.1), "optimizer must be an optax optimizer"),
        (0.1, "optimizer must be an optax optimizer, such as optax.adam.* got 0.1"),
        (None, "optimizer must be an optax optimizer, .* got None"),
    ],
)
def test_what_is_no_optimizer_is_refused(optimizer, message):
    # The trainer's own annotations speak first here, where types are checked.
    with pytest.raises(ValueError, match=message):
        as_optimizer(optimizer)


def test_many_steps_of_one_update_are_an_optimizer_too():
    optimizer = as_optimizer(optax.MultiSteps(optax.sgd(RATE), 2))
    assert isinstance(optimizer, optax.GradientTransformation)


def rated(optimizer: unspool.Spec, **settings) -> unspool.Training:
    """A training of settings; its learning rate is the optimizer's."""
    problem, estimator = unspool.Spec("cubic"), unspool.Spec("nres", {"num_workers": 4})
    return unspool.build_training(
        unspool.TrainConfig(problem=problem, estimator=estimator, optimizer=optimizer, **settings)
    )


def last_params(training: unspool.Training, optimizer=None) -> dict[str, np.ndarray]:
    job = training.problem, training.estimator, optimizer or training.optimizer
    *_, record = unspool.train(*job, num_updates=3, key=KEY)
    return record.params


@pytest.mark.parametrize(
    "schedule", [slow(None), unspool.Spec("cosine")], ids=["constant", "cosine"]
)
def test_settings_with_another_learning_rate_are_the_same_program(schedule):
    spec = lambda rate: unspool.Spec("adam", {"learning_rate": rate, "b1": 0.8})
    first = last_params(rated(spec(0.1), schedule=schedule, clip_norm=1.0, num_updates=3))
    known = set(_programs._COMPILED)
    training = rated(spec(0.2), schedule=schedule, clip_norm=1.0, num_updates=3)
    second = last_params(training)
    assert set(_programs._COMPILED) == known
    rate = 0.2 if schedule is None else optax.cosine_decay_schedule(0.2, 3)
    by_hand = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b1=0.8))
    np.testing.assert_array_equal(second["level"], last_params(training, by_hand)["level"])
    assert second["level"] != first["level"]
