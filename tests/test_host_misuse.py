"""Problems on the host that break the rules: the mistake is named in one sentence."""

import dataclasses
import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.host import ESTIMATORS, OnHost, Simulated, last_record
from unspool._engine.make_runner import make_runner
from unspool._engine.segment import Segment


def test_an_estimator_that_copies_states_is_refused():
    with pytest.raises(ValueError, match="TruncatedES has trajectories go on.*NRES"):
        last_record(Simulated(), ESTIMATORS["TruncatedES"])
    with pytest.raises(ValueError, match="TBPTT needs derivatives, which HostEngine has not"):
        last_record(OnHost(), unspool.TBPTT(4, 3))


class Unhashable(OnHost):
    __hash__ = None


def returns(method, *alternatives, after=0):
    """`OnHost`, of which a method returns something else, from its call of number `after` on.

    Alternatives are tried one after the other: each is a function of what it would have returned.
    """

    def change(change_it, name):
        calls = iter(range(10**9))

        def changed(self, *arguments, **seeds):
            if method == "is_done":
                made = OnHost.episodes.fget(self).is_done(*arguments)
            else:
                made = getattr(OnHost, method)(self, *arguments, **seeds)
            return change_it(made) if next(calls) >= after else made

        if method == "is_done":
            episodes = lambda self: unspool.Episodes(is_done=ft.partial(changed, self))
            return type(name, (OnHost,), {"episodes": property(episodes)})()
        return type(name, (OnHost,), {method: changed})()

    return [change(alternative, f"Wrong{i}") for i, alternative in enumerate(alternatives)]


def raises(wrong, estimator=ESTIMATORS["NRES"]):
    """The sentence with which training is refused."""
    with pytest.raises(ValueError) as caught:
        last_record(wrong, estimator)
    sentence = str(caught.value)
    assert "\n" not in sentence and type(wrong).__name__ in sentence
    return sentence


def test_wrong_losses_are_named():
    wrong = returns(
        "step",
        lambda made: (made[0], np.array([made[1].mean()])),
        lambda made: (made[0], made[1].mean()),
        lambda made: (made[0], made[1][:, np.newaxis]),
        lambda made: (made[0], made[1].astype(str)),
        lambda made: (made[0], made[1].astype(object)),
        lambda made: (made[0], made[1] + 0j),
        lambda made: (made[0], made[1] > 1),
        lambda made: (made[0], None),
    )
    got = [
        "(1,) of float64",
        "of type float64",
        "(3, 1) of float64",
        "(3,) of <U",
        "of type ndarray",
    ]
    got += ["(3,) of complex128", "(3,) of bool", "None of type NoneType"]
    for problem, found in zip(wrong, got, strict=True):
        sentence = raises(problem)
        assert "must return one loss for each row, real numbers of shape (3,), got " in sentence
        assert found in sentence
    for problem in returns("step", lambda made: made[0], lambda made: (*made, {}), lambda _: None):
        assert "must return a pair, the next states and the losses, got" in raises(problem)


def test_wrong_ends_are_named():
    wrong = returns(
        "is_done",
        np.any,
        lambda done: done.astype(int),
        lambda done: np.where(done, 1.0, np.nan),
        lambda done: done.astype(str),
        lambda done: done[:-1],
        lambda done: done[:, np.newaxis],
        lambda done: None,
    )
    got = ["of type bool", "(3,) of int64", "(3,) of float64", "(3,) of <U5", "(2,) of bool"]
    got += ["(3, 1) of bool", "None of type NoneType"]
    for problem, found in zip(wrong, got, strict=True):
        sentence = raises(problem)
        assert "must return one boolean for each row, of shape (3,), got" in sentence
        assert f"{found} for 3 rows" in sentence


def test_wrong_states_are_named():
    leaf = lambda x: lambda state: state | {"x": x(state["x"])}
    wrong = returns("init_state", leaf(lambda x: x[0]), leaf(lambda x: list("abc")), leaf(id))
    sentences = list(map(raises, wrong))
    assert "axis of rows: init_state returned (2,) of float64 as state['x'] for 3" in sentences[0]
    assert (
        "numbers or booleans: init_state returned 'a' of type str as state['x'][0]" in sentences[1]
    )
    assert "axis of rows: init_state returned () of int64 as state['x'] for 3 rows" in sentences[2]
    wrong = returns(
        "step",
        lambda made: (leaf(lambda x: x.astype(np.float32))(made[0]), made[1]),
        lambda made: (leaf(lambda x: x[:, :1])(made[0]), made[1]),
        lambda made: (made[0] | {"more": made[1]}, made[1]),
    )
    got = ["(3, 2) of float32 as state['x'], where init_state returned (3, 2) of float64"]
    got += ["(3, 1) of float64 as state['x'], where init_state", "{'more': *, 'steps': *, 'x': *}"]
    for problem, found in zip(wrong, got, strict=True):
        assert "must keep their shapes and types: step of" in (sentence := raises(problem))
        assert found in sentence


@dataclasses.dataclass(frozen=True)
class Crowd(OnHost):
    """Has one method that wants to know how many there are."""

    method: str = "step"
    rows: tuple[int, ...] = ()
    how: str = "raises"

    def init_state(self, params, *, seeds):
        state = super().init_state(params, seeds=seeds)
        if self.method == "init_state":
            state["x"] = self.change(state["x"])
        return state

    def step(self, params, state, t, *, seeds):
        state, losses = super().step(params, state, t, seeds=seeds)
        if self.method == "init_state":
            return state, losses
        if self.how == "single":
            return state | {"x": self.change(state["x"])}, losses
        return state, self.change(losses)

    def change(self, x):
        if len(x) not in self.rows:
            return x
        if self.how == "raises":
            raise IndexError("too many")
        return {"single": x.astype(np.float32), "mean": np.full_like(x, x.mean(0))}[self.how]


@pytest.mark.parametrize("method", ["init_state", "step"])
def test_any_number_of_rows_is_tried(method):
    crowd = lambda rows, how: Crowd(method=method, rows=rows, how=how)
    alone = f"{method} of Crowd must take any number of rows at once: for each of 3 alone it works"
    assert alone in (sentence := raises(crowd((2, 3, 10), "raises"))) and "too many" in sentence
    assert "for 3 it works, for 2 of them it raised Index" in raises(crowd((2,), "raises"))
    assert "float32" in raises(crowd((2,), "single"))
    mixed = raises(crowd((2, 3, 10), "mean"))
    assert f"nothing to do with one another: {method} of Crowd returned something else" in mixed
    # What only so many rows show is found when there are so many.
    assert "float32" in raises(crowd((10,), "single"), unspool.ESSingle(5, 3, 0.3))


def test_the_step_that_is_tried_is_the_first():
    """A table that is looked up by the time of a step has nothing for another."""
    tried = []

    class Timed(OnHost):
        def step(self, params, state, t, *, seeds):
            tried.extend(t)
            return super().step(params, state, t, seeds=seeds)

    engine = unspool.HostEngine(Timed())
    engine.check(engine.init_params(key=jax.random.key(0)))
    assert tried and not any(tried)


def test_a_mistake_made_late_stops_every_entry():
    """Nothing that comes back from a program is used, and nothing is left for the next one."""
    (problem,) = returns("step", lambda made: (made[0], None), after=30)
    key, estimator, engine = jax.random.key(0), ESTIMATORS["NRES"], unspool.HostEngine(problem)
    params = engine.init_params(key=key)
    match = "step of Wrong0 must return one loss for each row.*got None of type NoneType for"
    with pytest.raises(ValueError, match=match):
        last_record(engine, estimator)
    with pytest.raises(ValueError, match=match):
        unspool.evaluate(engine, params, key=key, num_episodes=4)
    with pytest.raises(ValueError, match=match):
        estimator.init(engine, params, key=key)
    with pytest.raises(ValueError, match="step of Wrong0"):
        unspool.check_unbiased(engine, estimator, key=key, reference=params, num_chains=30)
    good = unspool.HostEngine(OnHost())
    state = estimator.init(good, params, key=key)
    with pytest.raises(ValueError, match=match):
        estimator.estimate(engine, params, state)
    # Within a program of one's own there is nobody to raise it: the losses are NaN.
    step = jax.jit(lambda state: estimator.estimate(engine, params, state)[0].result)
    assert step(state) == unspool.RESULTS.all_workers_dropped
    assert estimator.estimate(good, params, state)[0].result == unspool.RESULTS.successful
    with pytest.raises(KeyboardInterrupt):
        unspool.evaluate(Interrupted(), params, key=key)


def test_a_mistake_made_late_in_an_evaluation_is_none_of_the_next_one():
    """The check at its beginning calls the step a few times, and its program as often as needed."""
    (problem,) = returns("step", lambda made: (made[0], None), after=9)
    engine, key = unspool.HostEngine(problem), jax.random.key(0)
    params = engine.init_params(key=key)
    engine.check(params)
    with pytest.raises(ValueError, match="step of Wrong0 must return one loss for each row"):
        unspool.evaluate(engine, params, key=key, num_episodes=4)
    engine.executor.throw()  # Nothing is left.


class Interrupted(OnHost):
    @property
    def episodes(self):
        return unspool.Episodes(is_done=self._interrupt)

    def _interrupt(self, state):
        if np.any(state["steps"] > 3):
            raise KeyboardInterrupt
        return super().episodes.is_done(state)


@dataclasses.dataclass(frozen=True)
class Loose(Simulated):
    """Its methods return what it is told."""

    made: object = (0.5, False)
    decided: object = None

    __eq__, __hash__ = object.__eq__, object.__hash__

    def step(self, simulator, action):
        return self.made

    def actions(self, simulators, params, t):
        return self.decided(simulators, params) if self.decided else list(params)


def run_alone(problem):
    """The losses of an episode in each of four simulators, without a program around them."""
    rows = np.zeros(4, int)
    params, seeds = np.zeros((4, 2), np.float32), np.arange(4, dtype=np.uint64)
    segment = Segment(
        params, rows, rows > 0, rows, seeds, np.zeros((4, 12), np.uint64), rows, np.arange(4)
    )
    return unspool.HostEngine(problem).executor.advance(segment).losses


def test_what_simulators_return_is_checked():
    step = lambda *made: Loose(made=made)
    number, ended = "a real number as the loss, got", "a boolean for whether the episode is over,"
    for problem, words in {
        step(0.5, False, {}): "a pair, the loss and whether the episode is over, got a tuple of 3",
        Loose(made=None): "a pair, the loss and whether the episode is over, got None",
        step("0.5", False): f"{number} '0.5' of type str",
        step(None, False): f"{number} None",
        step(0.5j, False): f"{number} 0.5j",
        step(True, 0.5): f"{number} True of type bool",
        Loose(made=((0.5,), False)): f"{number} (1,) of float64",
        step(0.5, None): f"{ended} got None",
        step(0.5, 1): f"{ended} got 1 of type int",
        step(0.5, np.nan): f"{ended} got nan of type float",
        step(0.5, "False"): f"{ended} got 'False' of type str",
        step(0.5, (False,)): f"{ended} got (1,) of bool",
    }.items():
        with pytest.raises(ValueError) as caught:
            run_alone(problem)
        assert str(caught.value).startswith(f"step of Loose must return {words}")
    counted = "actions of Loose must return one action for each of the simulators, got"
    for decided, words in {
        lambda simulators, params: None: "None of type NoneType",
        lambda simulators, params: list(params)[1:]: "3 actions",
        lambda simulators, params: (p for p in params[1:]): "3 actions",
        lambda simulators, params: params[0, 0]: "of type float32",
        lambda simulators, params: dict(enumerate(params)): "of type dict",
        lambda simulators, params: "left": "'left' of type str",
    }.items():
        with pytest.raises(ValueError) as caught:
            run_alone(Loose(decided=decided))
        assert str(caught.value).startswith(counted)
        assert str(caught.value).endswith(f"{words} for 4 simulators")
    legal = [(np.float32(0.5), np.bool_(False)), (np.array(0.5), np.array(False))]
    legal += [(jnp.array(0.5), jnp.array(False)), [0.5, False]]
    for problem in (*(Loose(made=made) for made in legal), Loose(decided=lambda _, p: iter(p))):
        np.testing.assert_array_equal(run_alone(problem), 6.0)
    assert "step of Loose must return a pair" in raises(Loose(made=None), unspool.FullES(2, 0.1))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="instance of AbstractHostProblem.*call it first"):
        make_runner(OnHost)
    with pytest.raises(ValueError, match=r"hashable.*dataclass\(frozen=True\)"):
        unspool.HostEngine(Unhashable())
    with pytest.raises(ValueError, match="horizon must be an integer of at least 1, got 0"):
        unspool.HostEngine(OnHost(horizon=0))
    with pytest.raises(ValueError, match="shapes of init_params"):
        last_record(OnHost(), ESTIMATORS["NRES"], params=jnp.zeros(2))
    with pytest.raises(ValueError, match="reference must be given for HostEngine"):
        unspool.check_unbiased(OnHost(), ESTIMATORS["NRES"], key=jax.random.key(0))
