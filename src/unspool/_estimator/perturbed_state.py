"""The state that estimators that perturb keep from one window to the next."""

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .. import _rows as rows
from .._custom_types import Params, RandomKey
from .._engine import AbstractEngine
from .control import AbstractControl
from .direction_cache import DirectionCache
from .perturbation import PairTree, Perturbation
from .probe import Branches
from .tableau import Tableau
from .workers import Workers


class Carried(eqx.Module):
    """The state of each group between windows, besides its arms.

    - `tangent`: the derivative of the arms' states, for probes that carry one.
    - `score_sum`: the sum of the scores lived through, where that is more than the newest one.
    - `stamp`: by which sigma knows the scale that each direction was drawn with.
    - `cache`: the directions themselves, where they are kept.
    """

    tangent: PyTree[Any]
    score_sum: PairTree | None
    stamp: PyTree[Any]
    cache: DirectionCache | None


class Learned(NamedTuple):
    """The knowledge that all groups share.

    - `control`: for each window of an episode.
    - `sigma`: by a scale that is decided while training goes on.
    """

    control: PyTree[Any]
    sigma: PyTree[Any]


class Deposits(NamedTuple):
    """Additions to the knowledge of a control, for each window of an episode.

    - `sums`: the sums of pairs' deposits.
    - `visits`: how many pairs have deposited.
    """

    sums: PyTree[Any]
    visits: Int[Array, " windows"]


def init_carried(
    tableau: Tableau, engine: AbstractEngine, params: Params, key: RandomKey
) -> tuple[Branches, Carried]:
    """One group's arms, and what is kept beside them, before its first episode."""
    T, pairs = engine.horizon, tableau.pairs
    W, K = (min(x or T, T) for x in (tableau.window, tableau.period))
    of_pairs = lambda tree: rows.repeat(rows.repeat(tree, 1), pairs)
    still = of_pairs(rows.widen(rows.zeros_like(params)))
    nowhere = Perturbation(still, still, still, still)
    branches = tableau.probe.start(engine, params, rows.repeat(key, 1), nowhere)
    redraws_before_rejoin = K < (W if tableau.rejoins else T)
    control = tableau.control
    sums_scores = redraws_before_rejoin or (control is not None and control.replaces_newest_score)
    keep = tableau.directions.keep
    if keep is None:
        keep = rows.num_bytes(still) <= rows.num_bytes(branches.trajectories.arms.state)
    lasts = W < T <= K and not tableau.rejoins
    before_all = jnp.full((1, 1), -1)
    cache = DirectionCache(still, still, before_all) if keep and lasts else None
    stamp = tableau.scale.stamp(tableau.scale.init(params), jnp.zeros((), int))
    stamp = of_pairs(jax.tree.map(jnp.asarray, stamp))
    return branches, Carried(branches.tangent, still if sums_scores else None, stamp, cache)


def init_learned(tableau: Tableau, num_windows: int, params: Params) -> Learned:
    """The knowledge before the first deposit."""
    control = None if tableau.control is None else tableau.control.init()
    by_window = rows.repeat(jax.tree.map(lambda x: jnp.asarray(x, float), control), num_windows)
    return Learned(by_window, jax.tree.map(jnp.asarray, tableau.scale.init(params)))


def learn_control(
    control: AbstractControl | None, workers: Workers, deposits: Deposits | None
) -> Workers:
    """The groups, with what a window has added to what they know."""
    if control is None or deposits is None or not jax.tree.leaves(workers.learned.control):
        return workers
    known = workers.learned.control
    updated = jax.vmap(control.update)(known, deposits.sums)
    learned = workers.learned._replace(control=rows.select(deposits.visits > 0, updated, known))
    return replace(workers, learned=learned)
