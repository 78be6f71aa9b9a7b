"""Combinations that one estimator may not have, and why."""

from .directions import AbstractDirections
from .tableau import Tableau


def check_combination(tableau: Tableau) -> None:
    """Raises `ValueError` for parts that together would bias the estimates."""
    for what, learns in _LEARNS.items():
        if learns(tableau):
            refuse_coupling(tableau.directions, tableau.pairs, what)


def refuse_coupling(directions: AbstractDirections, pairs: int, what: str) -> None:
    """Raises `ValueError` for coupled directions, where something is learned on earlier ones.

    Directions that are coupled across episodes depend on those of earlier episodes. What has been
    learned on the earlier ones then depends on the directions that it is applied to.
    """
    if directions.couples_episodes(pairs):
        raise ValueError(
            f"{type(directions).__name__} couples the directions of different episodes, and {what} "
            "is learned on earlier ones, which would bias the estimates: use GaussianDirections, "
            "or OrthogonalDirections of a size that divides pairs_per_group"
        )


_LEARNS = {
    "the coefficient of the control": lambda t: (
        t.control is not None and t.control.init() is not None
    ),
    "the scale of the noise": lambda t: t.scale.learns,
}
"""Ways for an estimator to learn from its own noise, and whether it does."""
