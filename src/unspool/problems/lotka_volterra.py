"""The predator-prey equations, and a century-old record to fit them to."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._series import read_series

_LYNX_HARE = Path(__file__).parent.parent / "data" / "lynx-hare.csv"


def lotka_volterra(rates: Float[Array, " 4"], state: Float[Array, " 2"]) -> Float[Array, " 2"]:
    r"""Computes the predator-prey equations of Lotka and Volterra, a vector field for `SeriesFit`.

    $$ \dot p = p\, (\delta q - \gamma), \qquad \dot q = q\, (\alpha - \beta p) $$

    **Arguments:**

    - `rates`: $(\alpha, \beta, \gamma, \delta)$, the growth of the prey, the predation, the death
      of the predators and their growth per prey; positive, per unit of time.
    - `state`: $(p, q)$, predators first and then prey, as in `lynx_hare`.

    **Returns:** the derivative of `state` by time, shape `(2,)`.

    **Example:**

    >>> from unspool.problems import lotka_volterra
    >>> print(lotka_volterra(jnp.array([0.5, 0.25, 1.0, 0.5]), jnp.array([4.0, 2.0])))
    [ 0. -1.]

    Source: Lotka, Elements of physical biology, 1925; Volterra, Nature 118, 1926.
    """
    growth, predation, death, conversion = rates
    predators, prey = state
    return jnp.stack(
        [
            predators * (conversion * prey - death),
            prey * (growth - predation * predators),
        ]
    )


def lynx_hare() -> tuple[Float[np.ndarray, " 21"], Float[np.ndarray, "21 2"]]:
    """Yearly numbers of lynx and hare pelts from Canada, 1900 to 1920.

    Returns the years, shape `(21,)`, and thousands of pelts, shape `(21, 2)`, lynx first.

    Pelts that the Hudson's Bay Company collected, a stand-in for the two populations.

    **Example:**

    >>> years, pelts = unspool.problems.lynx_hare()
    >>> print(years[0], pelts[0])
    1900.0 [ 4. 30.]

    Source: Hewitt, The conservation of the wild life of Canada, 1921, as tabulated by Howard,
    Modeling basics, 2009.
    """
    _, years, pelts = read_series(_LYNX_HARE)
    return years, pelts
