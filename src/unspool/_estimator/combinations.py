"""Combinations that one estimator may not have, and why."""

from dataclasses import replace

from .directions import Use
from .tableau import Tableau


def check_combination(tableau: Tableau) -> None:
    """Raises `ValueError` for parts that together would bias the estimates.

    Directions that are coupled across episodes depend on those of earlier episodes. What has been
    learned on the earlier ones then depends on the directions that it is applied to.
    """
    if not tableau.directions.couples_episodes(tableau.pairs):
        return
    name = type(tableau.directions).__name__
    for what in _learned(tableau):
        raise ValueError(
            f"{name} couples the directions of different episodes, and {what} is learned on "
            "earlier ones, which would bias the estimates: use GaussianDirections, or "
            "OrthogonalDirections of a size that divides pairs_per_group"
        )


def with_directions(tableau: Tableau, num_params: int, num_pairs: int) -> Tableau:
    """The row of the table, with the directions that are drawn for so many parameters and pairs."""
    lasts, learns = tableau.period is None, bool(_learned(tableau))
    use = Use(num_params, num_pairs, tableau.pairs, lasts, learns)
    return replace(tableau, directions=tableau.directions.choose(use))


def _learned(tableau: Tableau) -> list[str]:
    """The parts that learn from the noise of earlier episodes."""
    return [what for what, learns in _LEARNS.items() if learns(tableau)]


_LEARNS = {
    "the coefficient of the control": lambda t: (
        t.control is not None and t.control.init() is not None
    ),
    "the scale of the noise": lambda t: t.scale.learns,
}
"""Ways for an estimator to learn from its own noise, and whether it does."""
