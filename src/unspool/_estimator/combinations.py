"""Combinations that one estimator may not have, and why."""

from dataclasses import replace

from .._engine import AbstractEngine
from .directions import AbstractDirections, Use
from .tableau import Tableau


def check_combination(tableau: Tableau, num_workers: int) -> None:
    """Raises `ValueError` for parts that together would bias the estimates of so many pairs.

    A scale that changes where a round of episodes ends depends on earlier rounds alone. Directions
    that are coupled within a round, and last an episode, are normal whatever that scale is.
    """
    apart = not tableau.directions.couples_rounds(num_workers)
    for what in _learned_within_rounds(tableau) if apart else _learned(tableau):
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


def check_rounds(tableau: Tableau, engine: AbstractEngine) -> None:
    """Raises `ValueError` where a scale waits for rounds that there are not."""
    if not (tableau.scale.learns and tableau.directions.couples_episodes(tableau.pairs)):
        return
    if not _has_rounds(engine):
        raise ValueError(
            f"{type(tableau.directions).__name__} couples the directions of a round of episodes, "
            "and with a scale of the noise that is learned all episodes of a round must begin "
            "after the round before; those that end early, have random lengths, or begin anew "
            "where a training goes on do not: use GaussianDirections"
        )


def with_directions(
    tableau: Tableau, engine: AbstractEngine, num_params: int, num_pairs: int
) -> Tableau:
    """The row of the table, with the directions that are drawn for so many parameters and pairs."""
    learned = _learned_within_rounds(tableau) if _has_rounds(engine) else _learned(tableau)
    lasts = tableau.period is None
    use = Use(num_params, num_pairs, tableau.pairs, lasts, bool(learned))
    return replace(tableau, directions=tableau.directions.choose(use))


def _learned(tableau: Tableau) -> list[str]:
    """The parts that learn from the noise of earlier episodes."""
    return [what for what, learns in _LEARNS.items() if learns(tableau)]


def _learned_within_rounds(tableau: Tableau) -> list[str]:
    """Those of them that do not wait for the next round of directions that last an episode."""
    waits = tableau.period is None and tableau.scale.waits_for_rounds
    return [what for what in _learned(tableau) if not (waits and what == _SCALE)]


def _has_rounds(engine: AbstractEngine) -> bool:
    """Whether all episodes of a round begin after the round before."""
    return engine.fixed_length and engine.copies_states


_SCALE = "the scale of the noise"
_LEARNS = {
    "the coefficient of the control": lambda t: (
        t.control is not None and t.control.init() is not None
    ),
    _SCALE: lambda t: t.scale.learns,
}
"""Ways for an estimator to learn from its own noise, and whether it does."""
