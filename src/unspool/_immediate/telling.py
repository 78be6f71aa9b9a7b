"""A problem whose states tell how the parameters have entered them."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .. import _rows as rows
from .._custom_types import Params, State
from .._episodes import Episodes
from .._params import join, split
from .._problem import AbstractProblem
from .._show import show
from .._wrapper import AbstractWrapper
from .layers import FoundLayer, Layer, find_layers
from .program import Program, trace


class Traced(NamedTuple):
    """A step or a start: a function from the parameters, and the state, to the next state.

    - `program`: its inputs are leaves of the parameters, floats of the state, and anything else.
    - `layers`: where the parameters enter.
    - `inputs`: the values it is run with.
    - `names`: of the leaves of the parameters, and of the floats of the state.
    """

    program: Program
    found: tuple[FoundLayer, ...]
    inputs: list[Any]
    names: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(found.layer for found in self.found)


class Told(eqx.Module):
    """The facts of a step, or of the start of an episode, layer by layer.

    - `layers`: first those of starts, then those of steps. What the one has not is zero there.
    - `inputs`: the vector that each layer's matrix is multiplied by.
    - `facts`: what else was asked for.
    """

    layers: tuple[Layer, ...] = eqx.field(static=True)
    inputs: tuple[Float[Array, "..."], ...]
    facts: tuple[Any, ...]

    @classmethod
    def join(cls, start: "Told", step: "Told") -> "Told":
        """The facts of starts and of steps, one of which are zero."""
        pairs = zip(start.parts, step.parts, strict=True)
        return cls(*(first + second for first, second in pairs))

    @property
    def parts(self) -> tuple[tuple[Any, ...], ...]:
        return self.layers, self.inputs, self.facts


class TellingState(eqx.Module):
    """A state, and what was told of the step that made it."""

    state: State
    told: Told | None


def told_in(state: State) -> Told:
    """The facts that a state tells, whatever an engine has put beside it."""
    is_told = lambda x: isinstance(x, Told)
    (told,) = filter(is_told, jax.tree.leaves(state, is_leaf=is_told))
    return told


class AbstractReader(eqx.Module):
    """The facts that are wanted."""

    __repr__ = show

    @abc.abstractmethod
    def read_start(self, start: Traced, step: Traced) -> Told:
        """The facts of a start that is run now."""

    @abc.abstractmethod
    def read_step(self, start: Traced, step: Traced) -> Told:
        """The facts of a step that is run now."""


class Telling(AbstractWrapper):
    """Another problem, with states that tell a reader's facts. Steps and losses are the other's."""

    problem: AbstractProblem
    reader: AbstractReader

    def __init__(self, problem: AbstractProblem, reader: AbstractReader):
        self.problem = problem
        self.reader = reader

    @property
    def inner(self) -> AbstractProblem:
        return self.problem

    @property
    def episodes(self) -> Episodes:
        episodes = self.problem.episodes
        if (is_done := episodes.is_done) is None:
            return episodes
        return Episodes(
            is_done=lambda telling: is_done(telling.state),
            draw_length=episodes.draw_length,
            max_length=episodes.max_length,
            weight=episodes.weight,
        )

    def init_state(self, params, *, key):
        state = rows.strip_weak_type(self.problem.init_state(params, key=key))
        start, step = self._trace(params, state, jnp.zeros((), int), key)
        return TellingState(state, self.reader.read_start(start, step))

    def step(self, params, state, t, *, key):
        after, loss = self.problem.step(params, state.state, t, key=key)
        start, step = self._trace(params, state.state, t, key)
        return TellingState(after, self.reader.read_step(start, step)), loss

    def _trace(self, params, state, t, key) -> tuple[Traced, Traced]:
        """The start and the step; nothing is computed."""
        trained, fixed = split(params)
        floats, rest = rows.split_floats(state)

        def begin(trained, _, key):
            return rows.split_floats(self.problem.init_state(join(trained, fixed), key=key))[0]

        def advance(trained, floats, rest, t, key):
            whole = eqx.combine(floats, rest)
            after, _ = self.problem.step(join(trained, fixed), whole, t, key=key)
            return rows.split_floats(after)[0]

        start = _trace(begin, trained, None, key)
        return start, _trace(advance, trained, floats, rest, t, key)


def _trace(function: Callable[..., Any], trained: Params, states: Any, *others: Any) -> Traced:
    # What a program reads is differentiated here, and not once more by an estimator.
    inputs = jax.lax.stop_gradient((trained, states))
    program = trace(function, *inputs, *others)
    return Traced(
        program,
        find_layers(program, jax.tree.leaves(trained)),
        jax.tree.leaves((*inputs, *others)),
        (_name("params", trained), _name("state", states)),
    )


def _name(whole: str, tree: Any) -> tuple[str, ...]:
    paths = jax.tree_util.tree_leaves_with_path(tree)
    return tuple(whole + jax.tree_util.keystr(path) for path, _ in paths)
