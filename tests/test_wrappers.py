"""Problems around other problems: what they do not change is the other's."""

import dataclasses
import pkgutil
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
import unspool.experiments
import unspool.problems.control
from support.episodes import draw_length, is_done, weight
from unspool import problems
from unspool._immediate import Telling
from unspool._problem import AbstractProblem
from unspool._wrapper import AbstractWrapper
from unspool.experiments.published.influence_balancing import LossAtEnd
from unspool.problems.learned_optimizer import OptimizerTraining
from unspool.problems.schedules import ModelTraining

KEY = jax.random.key(0)
PARAMS = jnp.array([0.4, 0.2])


class Everything(problems.EarlyEnd):
    """Ends early, has a drawn length, a curriculum and a weight."""

    @property
    def episodes(self):
        return dataclasses.replace(
            super().episodes,
            draw_length=lambda *, key: jax.random.randint(key, (), 2, self.horizon + 1),
            max_length=lambda episode: jnp.where(episode < 6, 3, self.horizon),
            weight=lambda length: 5.0 / length,
        )


class Plain(AbstractWrapper):
    """Changes nothing."""

    problem: AbstractProblem

    @property
    def inner(self):
        return self.problem


class Stops(Plain):
    """Ends where the other does not."""

    @property
    def episodes(self):
        return dataclasses.replace(
            self.inner.episodes,
            is_done=lambda state: state > 10.0,
            draw_length=lambda *, key: jnp.array(3),
        )


def all_problems(kind=AbstractProblem):
    for each in kind.__subclasses__():
        if each.__module__.startswith("unspool."):
            yield each
        yield from all_problems(each)


def holds_a_problem(kind) -> bool:
    """Whether some field or property of a class is a problem."""
    hints = list(typing.get_type_hints(kind).values())
    for each in vars(kind).values():
        if isinstance(each, property):
            hints.append(typing.get_type_hints(each.fget).get("return"))
    return any(isinstance(hint, type) and issubclass(hint, AbstractProblem) for hint in hints)


def test_every_problem_around_another_is_a_wrapper():
    for package in (unspool.experiments, problems, unspool.problems.control):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            __import__(module.name)
    wrappers = {kind for kind in all_problems() if holds_a_problem(kind)}
    wrappers -= {AbstractWrapper}
    assert {kind.__name__ for kind in wrappers} >= {
        "BraxEnvironment", "LossAtEnd", "StartAnywhere", "StartInBox",
    }  # fmt: skip
    assert all(issubclass(kind, AbstractWrapper) for kind in wrappers), wrappers
    assert not {ModelTraining, OptimizerTraining} & wrappers
    # These have states of their own.
    for kind in wrappers - {LossAtEnd, Telling}:
        assert "episodes" not in vars(kind), kind


@pytest.mark.parametrize(
    "problem",
    [Everything(), problems.EarlyEnd(), problems.RandomLength(), problems.FinalLoss()],
    ids=lambda problem: type(problem).__name__,
)
def test_a_wrapper_keeps_how_episodes_end(problem):
    wrapped = Plain(problem)
    engine, other = unspool.LocalEngine(wrapped), unspool.LocalEngine(problem)
    for name in ("horizon", "ends_early", "fixed_length"):
        assert getattr(engine, name) == getattr(other, name), name
    for field in dataclasses.fields(unspool.Episodes):
        ours, theirs = (getattr(each.episodes, field.name) for each in (wrapped, problem))
        assert (ours is None) == (theirs is None), field.name
    if isinstance(problem, Everything):
        estimator = unspool.NRES(4, 3, 0.1)
        found = []
        for each in (wrapped, problem):
            state = estimator.init(each, PARAMS, key=KEY)
            estimates = []
            for _ in range(6):
                estimate, state = estimator.estimate(each, PARAMS, state)
                estimates.append((estimate.grad, estimate.stats["episodes"]))
            found.append(estimates)
        assert jax.tree.all(jax.tree.map(jnp.array_equal, *found))
        # The four workers' 6 windows would have 8 episodes or fewer at full length.
        assert sum(int(episodes) for _, episodes in found[0]) > 8


def test_what_a_wrapper_changes_counts():
    engine = unspool.LocalEngine(Stops(problems.FinalLoss()))
    assert engine.ends_early and engine.problem.episodes.random_length and not engine.fixed_length
    started = engine.start(PARAMS, jax.random.split(KEY, 2))
    assert started.clock.length.tolist() == [3, 3]


def losses_and_length(problem, key):
    """An episode step by step."""
    from unspool._random import Purpose, stream

    length = min(int(draw_length(problem, stream(key, Purpose.LENGTH))), problem.horizon)
    state, losses = problem.init_state(PARAMS, key=stream(key, Purpose.START)), []
    for t in range(length):
        state, loss = problem.step(PARAMS, state, jnp.array(t), key=stream(key, Purpose.STEP, t))
        losses.append(float(loss))
        if is_done(problem, state):
            break
    return losses, float(weight(problem, jnp.array(length)))


@pytest.mark.parametrize(
    "problem",
    [Everything(), problems.EarlyEnd(drain=0.4), problems.RandomLength(), problems.FinalLoss()],
    ids=lambda problem: type(problem).__name__,
)
def test_the_loss_at_the_end_is_that_of_the_last_step_wherever_an_episode_ends(problem):
    engine = unspool.LocalEngine(LossAtEnd(problem))
    keys = jax.random.split(KEY, 6)
    _, totals = engine.unroll(PARAMS, engine.start(PARAMS, keys), problem.horizon)
    episodes = [losses_and_length(problem, key) for key in keys]
    expected = [problem.horizon * losses[-1] * weight for losses, weight in episodes]
    assert np.allclose(totals[0], expected, rtol=1e-5)
    ends = {len(losses) for losses, _ in episodes}
    assert (ends == {12}) == isinstance(problem, problems.FinalLoss), ends
