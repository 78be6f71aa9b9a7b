"""Control variates: what a gradient known without noise takes off the noise of an estimate."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PyTree

from .._custom_types import Scalar


class AbstractControl(eqx.Module):
    r"""The coefficient of a control variate, for each window of an episode.

    $$ \hat g = a_k p_k + \mathrm{score} \, (D - a_k \, p_k \cdot \sigma z) $$

    with $p_k$ a guess of the gradient in window $k$ that owes nothing to the noise $z$, $D$ the
    directional derivative, and $a_k$ the coefficient. The mean is the same for every guess and
    every coefficient that does not depend on the noise it is applied to.

    Noise may last an episode. A coefficient that is learned therefore belongs to a window's place
    in the episode, which an episode goes through once: the methods see the numbers of one place
    alone. It is read before the deposits of the same update are added.
    """

    replaces_newest_score: ClassVar[bool] = False
    """True if the guess stands for the term of the newest noise, which then gets no score."""

    def init(self) -> PyTree[Any]:
        """The knowledge of a window before the first deposit: a tree of scalars, or `None`."""
        return None

    @abc.abstractmethod
    def coefficient(self, learned: PyTree[Any]) -> Scalar | float:
        """The coefficient of a window."""

    def deposit(self, derivative: Scalar, explained: Scalar) -> PyTree[Any]:
        r"""The deposit of a pair for its window, as a tree like that of `init`.

        `explained` is $p_k \cdot \sigma z$, what the guess says of the derivative.
        """
        return None

    def update(self, learned: PyTree[Any], deposits: PyTree[Any]) -> PyTree[Any]:
        """The knowledge of a window after the deposits of an update have been summed.

        It is called where there is a deposit.
        """
        return learned


class WindowGradientControl(AbstractControl):
    """The window's own gradient as a control variate, with a coefficient of one."""

    def coefficient(self, learned):
        return jnp.ones(())


class AnalyticNewestControl(AbstractControl):
    """The window's own gradient in place of the term of the newest noise, as in PES+Analytic.

    Exact for quadratic losses; otherwise there is a bias, as the guess is made where nothing is
    perturbed.
    """

    replaces_newest_score: ClassVar[bool] = True

    def coefficient(self, learned):
        return jnp.ones(())
