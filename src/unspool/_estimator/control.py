"""Control variates: what a gradient known without noise takes off the noise of an estimate."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._counts import check_count
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


def check_window_control(control: AbstractControl) -> None:
    """Raises `ValueError` for a control that takes away more than it adds on average."""
    if control.replaces_newest_score:
        raise ValueError(
            f"control must leave the newest noise its score, and {type(control).__name__} does "
            "not, which would bias the estimates: use FittedWindowControl or WindowGradientControl"
        )


class FittedWindowControl(AbstractControl):
    r"""As much of the window's own gradient as earlier episodes say is of use.

    $$ a_k = \frac{\sum_v d^{\,v} \sum D \; p_k \cdot \sigma z}
       {\sum_v d^{\,v} \sum (p_k \cdot \sigma z)^2} $$

    The coefficient of least squares, over the pairs that were in window $k$ in earlier visits $v$,
    counted back from the last one: updates in which none was there do not count. It may be far
    above one, where what a window says of itself is said again by those before it, and is near
    zero where a window's gradient says nothing. Until a few pairs were there it is zero, so that
    the estimate is that without a control: the variance of a ratio of few numbers is infinite.

    A pair whose numbers are too large for sums of squares counts as the largest that fits; where
    all are too small for squares, the coefficient is zero.

    **Arguments:**

    - `decay`: how much of an earlier visit is left one visit later, above 0 and at most 1.
    - `fewest_pairs`: pairs of earlier visits, as far as they are left, below which the
      coefficient is zero; below `1 / (1 - decay)`, or it is always zero with few workers.

    **Raises:** `ValueError` for a decay out of range, or a number of pairs below 1.

    **Example:**

    >>> control = unspool.FittedWindowControl(fewest_pairs=1)
    >>> estimator = unspool.ControlledNRES(num_workers=100, window=10, sigma=0.1, control=control)
    >>> learned = control.update(control.init(), control.deposit(jnp.array(6.0), jnp.array(3.0)))
    >>> print(f"{control.coefficient(learned):.1f}")
    2.0
    """

    decay: float = 0.95
    fewest_pairs: int = 8

    def __check_init__(self):
        check_count(fewest_pairs=self.fewest_pairs)
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay must be above 0 and at most 1, got {self.decay}")

    def init(self):
        return {"product": 0.0, "square": 0.0, "pairs": 0.0}

    def coefficient(self, learned):
        product, square = learned["product"], learned["square"]
        is_large = square >= jnp.finfo(square.dtype).tiny
        known = is_large & (learned["pairs"] >= self.fewest_pairs)
        return jnp.where(known, product / jnp.where(known, square, 1), 0)

    def deposit(self, derivative, explained):
        # Their squares leave room for sums over ten million pairs.
        most = float(jnp.finfo(derivative.dtype).max) ** 0.4
        size = jnp.maximum(jnp.abs(derivative), jnp.abs(explained))
        excess = jnp.maximum(size / most, 1)
        derivative, explained = derivative / excess, explained / excess
        one = jnp.ones_like(explained)
        return {"product": derivative * explained, "square": explained**2, "pairs": one}

    def update(self, learned, deposits):
        return jax.tree.map(lambda old, new: self.decay * old + new, learned, deposits)


class WindowGradientControl(AbstractControl):
    """The window's own gradient as a control variate, with a coefficient of one.

    Right where most of the gradient is within a window. Nothing is learned, so that it goes with
    directions that are drawn together across episodes, such as `LatticeDirections()`.

    **Example:**

    >>> control = unspool.WindowGradientControl()
    >>> estimator = unspool.ControlledNRES(num_workers=100, window=10, sigma=0.1, control=control)
    >>> float(control.coefficient(control.init()))
    1.0
    """

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
