"""The interface to a user's problem: one trajectory of an unrolled computation."""

import abc

import equinox as eqx

from ._custom_types import IntScalar, Params, RandomKey, RealScalar, State
from ._episodes import Episodes
from ._show import show


class AbstractProblem(eqx.Module):
    r"""One trajectory of an unrolled computation: pure JAX, no batch axis, no loop, no noise.

    $$ s_0 = \mathrm{init\_state}(\theta), \quad
       (s_{t+1}, \ell_t) = \mathrm{step}(\theta, s_t, t), \quad
       L(\theta) = \mathbb{E}\Big[\frac{1}{T} \sum_{t=0}^{T-1} \ell_t\Big] $$

    A subclass gives a field or property `horizon` (the number of steps $T$, a positive integer)
    and the three methods `init_params`, `init_state` and `step`. Data sets are array fields;
    minibatches are drawn with `key`. Losses are minimized.

    Episodes that end early, have a random length, or weigh their steps are described by the
    property `episodes`.

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

    __repr__ = show

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

    @property
    def episodes(self) -> Episodes:
        """The ends and weights of episodes: by default `horizon` steps, all of the same weight."""
        return Episodes()
