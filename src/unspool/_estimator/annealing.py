from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree

from .. import _rows as rows
from .._custom_types import BoolScalar, IntScalar, Params, Scalar
from .sigma import AbstractSigma, MadeUpdate, as_sigma

_MEMORY = 0.99
"""The decay of the mean of squares that gradients are divided by, as in Adam."""

_KEPT = 0.6
"""The share of the smoothed cosine that stays when a round adds its own."""

_LEAST_SIGNAL = 2.0
"""Squared norms of estimates over those that noise alone would have, from which on it is signal."""


class Agreement(NamedTuple):
    """The knowledge of an `Annealing`.

    - `level`: sigma over that of the start, but for the floor.
    - `pace`: the factor by which steps have become shorter at the floor.
    - `squares`, `weight`: decaying sums of squared gradients, and of ones.
    - `sum`, `before`: sums of normalized gradients, of this round so far and of the one before.
    - `power`, `noise`: sums of squared norms, of estimates and of what noise alone would give;
      those of earlier rounds count half, a quarter and so on.
    - `cosine`: between the sums of consecutive rounds, smoothed.
    - `round`: rounds that have ended.
    - `waited`: rounds that did not agree since sigma fell.
    - `has_signal`: true once there has been any.
    """

    level: Scalar
    pace: Scalar
    squares: Params
    weight: Scalar
    sum: Params
    before: Params
    power: Scalar
    noise: Scalar
    cosine: Scalar
    round: IntScalar
    waited: IntScalar
    has_signal: BoolScalar


def _as_floor(floor: float | PyTree[Any] | None) -> Any:
    return None if floor is None else as_sigma(floor)


class Annealing(AbstractSigma):
    r"""A sigma that falls when the gradients of consecutive episodes no longer agree.

    $$ S_r = \sum_{u \in \text{round } r} \hat g_u / \sqrt{v_u}, \qquad
       \rho_r = 0.6\, \rho_{r-1} + 0.4 \cos(S_{r-1}, S_r), \qquad
       \rho_r < \mathrm{agreement} \;\Rightarrow\; \sigma \leftarrow \mathrm{factor} \cdot \sigma $$

    A round is as many updates as an episode has windows, and $v$ the decaying mean of squared
    gradients, entry by entry. While a wide sigma still finds its way, consecutive rounds point the
    same way. At the optimum of the smoothed loss they do not, and less smoothing shows more of the
    loss. With `scale_by_sigma` or `clip_by_drift` steps become shorter in proportion. At the floor
    these become shorter with every update, so that parameters settle.

    No agreement may also mean no signal yet. Until estimates have once been larger than noise alone
    would make them, sigma falls after `patience` rounds without agreement, rather than after one.

    Every direction keeps the sigma that it was drawn with, and sigma changes where a round of
    episodes ends. Given sigma, each direction is normal: estimates are unbiased for the sigma in
    force. That holds for `LatticeDirections` too, where a direction lasts an episode and episodes
    have one length, because each round has a lattice of its own. Where lengths differ, a round is
    the updates of a longest episode.

    Prefer it where a wide sigma moves fast and ends at a wrong place, and a narrow one gets stuck.

    **Arguments:**

    - `start`: sigma at the start, above 0: a number, or a tree like the parameters. Twice to five
      times what would do without annealing.
    - `floor`: the least sigma, of the form of `start`; by default a tenth of it.
    - `factor`: what sigma is multiplied by, between 0 and 1.
    - `agreement`: the smoothed cosine below which it falls, from -1 to 1.
    - `decay`: what steps are multiplied by in every update at the floor, above 0 and at most 1.
    - `patience`: rounds without agreement, at least 1, after which sigma falls before there has
      been any signal.

    **Raises:** `ValueError` for a number out of range, or a floor above the start.

    **Example:**

    >>> annealing = unspool.Annealing(0.2, floor=0.01)
    >>> estimator = unspool.NRES(num_workers=100, window=100, sigma=annealing)
    >>> optimizer = optax.chain(optax.adam(2.0, b2=0.99), unspool.scale_by_sigma())
    >>> init, step = unspool.make_step(unspool.problems.Lorenz(), estimator, optimizer)
    """

    start: float | PyTree[Any] = eqx.field(converter=as_sigma)
    floor: float | PyTree[Any] = eqx.field(default=None, converter=_as_floor)
    factor: float | Float[Array, ""] = eqx.field(default=0.5, kw_only=True, converter=jnp.asarray)
    agreement: float | Float[Array, ""] = eqx.field(
        default=0.6, kw_only=True, converter=jnp.asarray
    )
    decay: float | Float[Array, ""] = eqx.field(default=0.98, kw_only=True, converter=jnp.asarray)
    patience: int | Int[Array, ""] = eqx.field(default=5, kw_only=True, converter=jnp.asarray)
    waits_for_rounds: ClassVar[bool] = True

    def __check_init__(self):
        if callable(self.start) or callable(self.floor):
            raise ValueError("start and floor must be numbers, or trees of them")
        _check("factor", self.factor, "above 0 and below 1", lambda x: 0 < x < 1)
        _check("agreement", self.agreement, "from -1 to 1", lambda x: -1 <= x <= 1)
        _check("decay", self.decay, "above 0 and at most 1", lambda x: 0 < x <= 1)
        _check("patience", self.patience, "at least 1", lambda x: x >= 1)
        if jax.tree.structure(self._least) != jax.tree.structure(self.start):
            raise ValueError(
                f"floor must be of the structure of start, {jax.tree.structure(self.start)}, got "
                f"{jax.tree.structure(self.floor)}"
            )
        for start, floor in zip(*map(jax.tree.leaves, (self.start, self._least)), strict=True):
            reason = f"at most start, {start!s}"
            _check("floor", floor, reason, lambda x, start=start: np.all(x <= np.asarray(start)))

    @property
    def _least(self) -> PyTree[Any]:
        """The least sigma."""
        if self.floor is None:
            return jax.tree.map(lambda sigma: sigma / 10, self.start)
        return self.floor

    def init(self, params):
        still = rows.widen(rows.zeros_like(params))
        zero, one, none = jnp.zeros(()), jnp.ones(()), jnp.zeros((), int)
        return Agreement(
            level=one,
            pace=one,
            squares=still,
            weight=zero,
            sum=still,
            before=still,
            power=zero,
            noise=zero,
            cosine=one,
            round=none,
            waited=none,
            has_signal=jnp.array(False),
        )

    def stamp(self, learned, update):
        return learned.level

    def at(self, stamp):
        return jax.tree.map(lambda x, least: jnp.maximum(x * stamp, least), self.start, self._least)

    def pace(self, learned, update):
        return jax.tree.map(lambda sigma: sigma * learned.pace, self.at(learned.level))

    def after_update(self, learned: Agreement, made: MadeUpdate) -> Agreement:
        pace = jnp.where(self._is_at_floor(learned), learned.pace * self.decay, learned.pace)
        learned = _add(learned, made)._replace(pace=pace)
        ended = self._end_round(learned)
        return jax.tree.map(lambda x, y: jnp.where(made.ends_round, x, y), ended, learned)

    def _is_at_floor(self, learned: Agreement) -> BoolScalar:
        is_low = lambda x, least: jnp.all(x * learned.level <= least)
        low = jax.tree.leaves(jax.tree.map(is_low, self.start, self._least))
        return jnp.all(jnp.stack(low))

    def _end_round(self, learned: Agreement) -> Agreement:
        """The knowledge at the end of a round. The first two are taken to agree: before the first
        whole one there may be a part of one."""
        is_known = learned.round >= 2
        newest = _cosine(learned.before, learned.sum)
        cosine = jnp.where(is_known, _KEPT * learned.cosine + (1 - _KEPT) * newest, 1.0)
        disagrees = cosine < self.agreement
        stands_out = learned.power > _LEAST_SIGNAL * learned.noise
        has_signal = learned.has_signal | (stands_out & is_known & ~disagrees)
        falls = disagrees & (has_signal | (learned.waited + 1 >= self.patience))
        return learned._replace(
            level=jnp.where(falls, learned.level * self.factor, learned.level),
            sum=rows.zeros_like(learned.sum),
            before=learned.sum,
            power=learned.power / 2,
            noise=learned.noise / 2,
            cosine=cosine,
            round=learned.round + 1,
            waited=jnp.where(falls, 0, learned.waited + disagrees),
            has_signal=has_signal,
        )


@rows.widening
def _add(learned: Agreement, made: MadeUpdate) -> Agreement:
    """The knowledge with the gradient of one more update in its sums."""
    square = lambda old, g: (_MEMORY * old + (1 - _MEMORY) * g**2).astype(old.dtype)
    squares = jax.tree.map(square, learned.squares, made.grad)
    weight = _MEMORY * learned.weight + (1 - _MEMORY)

    def add(total, g, square):
        usual = jnp.sqrt(square / weight)
        return (total + g / jnp.where(usual > 0, usual, 1)).astype(total.dtype)

    return learned._replace(
        squares=squares,
        weight=weight,
        sum=jax.tree.map(add, learned.sum, made.grad, squares),
        power=learned.power + made.stats["grad_norm"] ** 2,
        noise=learned.noise + made.stats.get("variance", made.stats["grad_norm"] ** 2),
    )


def _cosine(left: Params, right: Params) -> Scalar:
    """The cosine between two trees; one where either is zero."""
    left, right = rows.repeat(left, 1), rows.repeat(right, 1)
    size = (rows.norm(left) * rows.norm(right))[0]
    return jnp.where(size > 0, rows.dot(left, right)[0] / jnp.where(size > 0, size, 1), 1.0)


def _check(name: str, value: Any, legal: str, is_legal: Any) -> None:
    """Raises `ValueError` for a number out of range; one that is being traced is taken as it is."""
    if not isinstance(value, Tracer) and not is_legal(np.asarray(value)):
        raise ValueError(f"{name} must be {legal}, got {value!s}")
