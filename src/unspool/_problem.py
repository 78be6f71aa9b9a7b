"""What a user writes: one trajectory of an unrolled computation."""

import abc

import equinox as eqx
import jax.numpy as jnp

from ._custom_types import BoolScalar, IntScalar, Params, RandomKey, RealScalar, State


class AbstractProblem(eqx.Module):
    r"""One trajectory of an unrolled computation: pure JAX, no batch axis, no loop, no noise.

    $$ s_0 = \mathrm{init\_state}(\theta), \quad
       (s_{t+1}, \ell_t) = \mathrm{step}(\theta, s_t, t), \quad
       L(\theta) = \mathbb{E}\Big[\frac{1}{T} \sum_{t=0}^{T-1} \ell_t\Big] $$

    A subclass gives a field or property `horizon` (the number of steps $T$, a positive integer)
    and the three methods `init_params`, `init_state` and `step`. Data sets are array fields;
    minibatches are drawn with `key`. Losses are minimized.

    The others are optional. `is_done` ends an episode early; the objective is then the expected
    *total* loss of an episode, and gradients are right up to a positive factor (the mean length).
    `draw_length` gives each episode a random length; the objective is then
    $\mathbb{E}[\sum_t \ell_t] / \mathbb{E}[\text{length}]$, the average per *step*. For the
    average per *episode* let `weight` return `mean_length / length`. `max_length` bounds the length
    by the number of the episode, for a curriculum.

    **Example:**

    >>> class Tank(unspool.AbstractProblem):
    ...     horizon: int = 12
    ...     def init_params(self, *, key):
    ...         return jnp.array(0.2)
    ...     def init_state(self, params, *, key):
    ...         return jnp.zeros(())
    ...     def step(self, params, state, t, *, key):
    ...         state = 0.8 * state + params
    ...         return state, (state - 1.0) ** 2
    >>> evaluation = unspool.evaluate(Tank(), jnp.array(0.2), key=jax.random.key(0))
    >>> print(f"{evaluation.loss:.2f}")
    0.15
    """

    horizon: eqx.AbstractVar[int]

    @abc.abstractmethod
    def init_params(self, *, key: RandomKey) -> Params:
        """The parameters that training starts from: any pytree, such as a network.

        Arrays of real floats are trained; everything else stays as it is. Python floats become
        arrays, unless they are fields of an `equinox.Module`.
        """

    @abc.abstractmethod
    def init_state(self, params: Params, *, key: RandomKey) -> State:
        """The state before the first step: any pytree of arrays. It may depend on `params`."""

    @abc.abstractmethod
    def step(
        self, params: Params, state: State, t: IntScalar, *, key: RandomKey
    ) -> tuple[State, RealScalar]:
        """The next state, of the same shapes and types, and the scalar loss of that new state.

        `t` counts the steps taken before this one, from 0 to `horizon - 1`. `key` is this step's
        own; trajectories that are compared with one another get the same.
        """

    def is_done(self, state: State) -> BoolScalar:
        """Whether the episode has ended early. Its steps are then frozen and add no loss."""
        return jnp.array(False)

    def draw_length(self, *, key: RandomKey) -> IntScalar:
        """The number of steps of an episode, from 1 to `horizon`, drawn with `key`."""
        return jnp.array(self.horizon)

    def max_length(self, episode: IntScalar) -> IntScalar:
        """The most steps that the episode of number `episode` may have, at least 1.

        Training counts episodes over all workers, from 0. Evaluations know no such number, and
        have episodes as long as `draw_length` says.
        """
        return jnp.array(self.horizon)

    @property
    def ends_early(self) -> bool:
        """Whether `is_done` may be true, which is then asked after every step."""
        return type(self).is_done is not AbstractProblem.is_done

    @property
    def fixed_length(self) -> bool:
        """Whether all episodes that do not end early have `horizon` steps, which runs faster."""
        kind = type(self)
        return (
            kind.draw_length is AbstractProblem.draw_length
            and kind.max_length is AbstractProblem.max_length
        )

    def weight(self, length: IntScalar) -> RealScalar:
        """What a step's loss is multiplied by in an episode of `length` steps."""
        return 1.0
