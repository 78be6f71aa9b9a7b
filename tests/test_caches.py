"""No program outlives what it was made of: globals, closures, methods, arrays changed in place."""

import functools as ft
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend import core

import unspool
from support.slow import slow
from unspool import _programs
from unspool._frozen import freeze
from unspool._guards import Guards

KEY = jax.random.key(0)
SETTINGS = types.SimpleNamespace(scale=1.0)


class Reads(unspool.AbstractProblem):
    """A loss of `(params - target)**2`, whose target comes from wherever `read` gets it."""

    read: types.FunctionType
    horizon: int = 4

    def init_params(self, *, key):
        return jnp.array(0.5)

    def init_state(self, params, *, key):
        return jnp.array(0.0)

    def step(self, params, state, t, *, key):
        return state, (params - self.read()) ** 2


class Unhashable(unspool.AbstractProblem):
    """Holds an array where equinox wants none."""

    target: np.ndarray = eqx.field(static=True)
    horizon: int = 4

    init_params, init_state = Reads.init_params, Reads.init_state

    def step(self, params, state, t, *, key):
        return state, (params - jnp.asarray(self.target, jnp.float32)) ** 2


TARGET = np.zeros(())
INNER = 0.0


def inner(x, _):
    return x + INNER, None


@jax.jit
def jitted():
    return jnp.float32(INNER)


def in_place():
    own = np.zeros(())
    read = lambda: jnp.asarray(own, jnp.float32)
    return Reads(read), lambda value: own.fill(value)


def closure():
    value = 0.0
    read = lambda: jnp.float32(value)

    def change(new):
        nonlocal value
        value = new

    return Reads(read), change


def of_module():
    return Reads(lambda: jnp.asarray(TARGET, jnp.float32)), ft.partial(_set_global, "TARGET")


def in_a_loop():
    """JAX remembers the bodies of loops by the function that they are."""
    read = lambda: jax.lax.scan(inner, jnp.float32(0), length=1)[0]
    return Reads(read), ft.partial(_set_global, "INNER")


def in_a_function_of_its_own():
    return Reads(lambda: jitted()), ft.partial(_set_global, "INNER")


def in_an_object():
    settings = types.SimpleNamespace(scale=[0.0])
    read = ft.partial(lambda s: jnp.float32(s.scale[0]), settings)
    return Reads(read), lambda value: settings.scale.__setitem__(0, value)


def in_a_module():
    module = types.ModuleType("mine")
    module.inside = types.SimpleNamespace(value=0.0)
    space = {"mine": module, "jnp": jnp}
    exec("def read(): return jnp.float32(mine.inside.value)", space)
    return Reads(space["read"]), lambda value: setattr(module.inside, "value", value)


def in_the_code():
    read = lambda: jnp.float32(0)

    def change(value):
        space = {"jnp": jnp}
        exec(f"def read(): return jnp.float32({value})", space)
        read.__code__ = space["read"].__code__

    return Reads(read), change


def in_a_method():
    class Own(Reads):
        def step(self, params, state, t, *, key):
            return state, params**2

    def change(value):
        Own.step = lambda self, params, state, t, *, key: (state, (params - value) ** 2)

    return Own(len), change


def in_a_static_field():
    target = np.zeros(())
    return Unhashable(target), lambda value: target.fill(value)


def _set_global(name, value):
    globals()[name] = np.asarray(value) if name == "TARGET" else value


WAYS = (
    slow(in_place),
    closure,
    slow(of_module),
    slow(in_a_loop),
    slow(in_a_function_of_its_own),
    in_an_object,
    slow(in_a_module),
    in_the_code,
    in_a_method,
    pytest.param(
        in_a_static_field,
        marks=pytest.mark.filterwarnings("ignore:A .*array is being set as static:UserWarning"),
    ),
)


@pytest.mark.parametrize("way", WAYS)
def test_what_has_changed_is_seen_by_the_next_estimate_and_evaluation(way):
    """The gradient of one step is twice the distance to the target."""
    problem, change = way()
    params, estimator = jnp.array(0.5), unspool.BPTT(1)
    workers = estimator.init(problem, params, key=KEY)
    try:
        for target in (0.0, 3.0, 0.0, -2.0):
            change(target)
            for _ in range(2):
                grad = estimator.estimate(problem, params, workers)[0].grad
                np.testing.assert_allclose(grad, 2 * (0.5 - target), rtol=1e-6)
            loss = unspool.evaluate(problem, params, key=KEY).loss
            np.testing.assert_allclose(loss, (0.5 - target) ** 2, rtol=1e-6)
    finally:
        change(0.0)


def test_what_is_not_read_may_change():
    """Of a module that a problem reads from, too."""
    module, traces = types.ModuleType("mine"), []
    module.inside, module.beside = 1.0, 0.0
    space = {"mine": module, "jnp": jnp, "note": traces.append}
    exec("def read(): return note(0) or jnp.float32(mine.inside)", space)
    problem, params, estimator = Reads(space["read"]), jnp.array(0.5), unspool.BPTT(1)
    workers = estimator.init(problem, params, key=KEY)
    estimator.estimate(problem, params, workers)
    traces.clear()
    module.beside = 1.0
    estimator.estimate(problem, params, workers)
    assert not traces
    module.inside = 2.0
    estimator.estimate(problem, params, workers)
    assert traces


def test_what_has_changed_is_seen_by_the_next_training_and_test():
    problem, change = in_a_loop()
    try:
        for target in (1.0, -2.0):
            change(target)
            *_, last = unspool.train(
                problem, unspool.BPTT(), optax.sgd(0.25), num_updates=30, key=KEY
            )
            np.testing.assert_allclose(last.params, target, atol=1e-4)
            # Simulated, and exact: nothing is random.
            found = unspool.check_unbiased(problem, unspool.BPTT(), key=KEY, num_chains=30)
            np.testing.assert_allclose(found.reference, 2 * (0.5 - target), rtol=1e-5)
            assert found.passed
    finally:
        change(0.0)


def test_schedules_of_optimizers_and_of_sigma_are_seen():
    rate = [0.1]
    optimizer = optax.sgd(lambda count: rate[0])
    problem, _ = closure()
    ends = []
    for rate[0] in (0.1, 0.2):
        *_, last = unspool.train(problem, unspool.BPTT(1), optimizer, num_updates=1, key=KEY)
        ends.append(float(last.params))
    np.testing.assert_allclose(ends, (0.5 - 0.1, 0.5 - 0.2), rtol=1e-6)


class Scaled(unspool.AbstractProblem):
    """A number among the fields, and one in a global."""

    scale: jax.Array
    horizon: int = 4

    init_params, init_state = Reads.init_params, Reads.init_state

    def step(self, params, state, t, *, key):
        return state, self.scale * SETTINGS.scale * params**2


def count_compiled(monkeypatch, run):
    """What runs return, and how many programs were compiled for each."""
    compiled = {}
    monkeypatch.setattr(_programs, "_COMPILED", compiled)
    monkeypatch.setattr(_programs, "_KNOWN", {})
    counts = []
    for one in run:
        one()
        counts.append(len(compiled) - sum(counts))
    return counts


def test_programs_are_shared_where_they_are_the_same(monkeypatch):
    """Numbers in fields, equal closures and classes defined anew need no compilation."""

    def run(value, make=lambda: None):
        problem = Scaled(jnp.float32(value))
        train = ft.partial(unspool.train, problem, unspool.BPTT(1), num_updates=4, key=KEY)
        return lambda: list(train(optax.sgd(0.1 if make() is None else 0.2)))

    counts = count_compiled(
        monkeypatch, [run(1.0), run(2.0), run(2.0, lambda: 0), run(3.0, lambda: 0)]
    )
    assert counts[0] >= 2 and counts[1:] == [0, 1, 0]


def test_estimates_by_hand_are_traced_once():
    traced = []

    class Counted(Scaled):
        def step(self, params, state, t, *, key):
            traced.append(1)
            return super().step(params, state, t, key=key)

    problem, params, estimator = Counted(jnp.float32(1.0)), jnp.array(0.5), unspool.BPTT(1)
    state = estimator.init(problem, params, key=KEY)
    _, state = estimator.estimate(problem, params, state)
    before = len(traced)
    for _ in range(3):
        _, state = estimator.estimate(problem, params, state)
    assert len(traced) == before
    estimate, _ = estimator.estimate(Counted(jnp.float32(2.0)), params, state)
    assert len(traced) == before
    np.testing.assert_allclose(estimate.grad, 2.0, rtol=1e-6)


HELD = core.Primitive("held")
HELD.def_abstract_eval(lambda x, parameter: x)


def freeze_with(value):
    """A program whose equations hold a value, as a constant if it is an array."""
    if isinstance(value, (np.ndarray, jax.Array)):
        return freeze(jax.make_jaxpr(lambda x: (x, value))(0.0))
    return freeze(jax.make_jaxpr(lambda x: HELD.bind(x, parameter=value))(0.0))


@pytest.mark.parametrize(
    ("make", "others"),
    [
        (lambda: 0.0, [-0.0, 0, False, "0.0", None, (0.0,)]),
        (lambda: 1, [1.0, True, np.int32(1)]),
        (lambda: (1, "x"), [(1.0, "x"), ("x", 1), (1,)]),
        (lambda: np.float32([1.0]), [np.float32([2.0]), np.int32([1]), np.float32([[1.0]])]),
        (lambda: np.zeros(1000), [np.r_[np.zeros(999), 1]]),
        (lambda: jax.random.key(1), [jax.random.key(2), jax.random.key(1, impl="rbg")]),
        (lambda: np.zeros, [np.ones]),
    ],
)
def test_programs_are_told_apart_by_what_their_equations_hold(make, others):
    known = freeze_with(make())
    assert known == freeze_with(make()) and hash(known) == hash(freeze_with(make()))
    assert all(known != freeze_with(other) for other in others)


def test_programs_of_classes_made_anew_are_given_up(monkeypatch):
    monkeypatch.setattr(_programs, "_KNOWN", known := {})
    double = lambda problem, x: 2 * x
    for number in range(_programs._MOST_PROGRAMS + 2):
        problem = type(f"Reads{number}", (Reads,), {})(lambda: 0.0)
        found = _programs.call_known_program(double, (problem,), jnp.array(number))
        assert found == 2 * number
    assert len(known) == _programs._MOST_PROGRAMS
    assert {kind.__name__ for _, kind in known} == {f"Reads{n}" for n in range(2, number + 1)}


def test_compiled_programs_make_room_for_newer_ones(monkeypatch):
    monkeypatch.setattr(_programs, "_COMPILED", compiled := {})
    monkeypatch.setattr(_programs, "_MOST_PROGRAMS", 3)
    times = lambda number: _programs.compile_program(lambda x: number * x, jnp.array(2))
    for number in range(5):
        times(number)
    kept = list(compiled)
    assert len(kept) == 3
    times(4)
    assert list(compiled) == kept


def test_other_settings_of_jax_are_another_program():
    problem, estimator = Scaled(jnp.float32(1.0)), unspool.BPTT(1)
    for wide in (False, True, False):
        with jax.enable_x64(wide):
            params = jnp.array(0.5)
            state = estimator.init(problem, params, key=KEY)
            estimate, _ = estimator.estimate(problem, params, state)
            assert estimate.loss.dtype == jnp.result_type(float)


def test_guards_notice_and_do_not_cry_wolf():
    problem, change = in_an_object()
    guards = Guards((problem, unspool.NRES(2, 2, lambda update: 0.1 * SETTINGS.scale)))
    assert guards.complete and guards.hold() and guards.hold()
    change(1.0)
    assert not guards.hold()
    # The library and what is installed are taken to stay as they are.
    names = {name for _, name, _ in guards._names}
    assert "SETTINGS" in names and "where" not in names
