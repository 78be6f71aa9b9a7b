from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from .. import _rows as rows
from .._counts import check_count, check_divides
from .._custom_types import Params, RandomKey
from .._engine import AbstractEngine
from .._target import Target
from .base import AbstractEstimator
from .combinations import refuse_coupling
from .directions import AbstractDirections, GaussianDirections
from .estimate import WindowSums
from .layout import Layout
from .phases import AbstractPhases, EvenPhases
from .plan import Plan
from .reweighted_window import Learned, ReweightedWindow, Reweighting
from .reweighting import Baseline
from .sigma import AbstractSigma, Sigma, as_scale, as_sigma
from .starts import Restarts, Starts
from .workers import Origin, Workers, begin_workers

MOST_PARAMS = 1000
"""So many parameters drift by several sigmas, as a norm, before an episode is over."""


class ReweightedNRES(AbstractEstimator):
    r"""Noise-reuse evolution strategies without lag: workers keep the parameters they began with.

    $$ \hat g = \frac{1}{N W} \sum_{i=1}^{N} \frac12 \sum_\pm w(x_\pm)
       \sum_{t \in \text{window}} \big( \ell_t^\pm - b_k \big)
       \frac{x_\pm - \theta}{\sigma^2}, \qquad
       w(x) = \frac{\mathcal{N}(x;\, \theta, \sigma^2)}{\mathcal{N}(x;\, \theta_0, \sigma^2)} $$

    A worker's arms run with $x_\pm = \theta_0 \pm \sigma z$ from start to end of an episode, where
    $\theta_0$ are the parameters of the update in which the episode began. No state is made by
    parameters that have changed on the way, as those of `NRES` are. Importance weights $w$ turn
    what the arms say into the gradient at today's parameters $\theta$; $b_k$ is the mean loss of
    window $k$ in earlier episodes. Where $\theta = \theta_0$ it is the antithetic pair of `NRES`.

    | estimand | state per worker | steps per estimate | derivatives |
    |---|---|---|---|
    | smoothed gradient, one noise per episode | two states | $2 N W$ | not needed |

    Along parameters that move on a path fixed beforehand, every single estimate has today's
    gradient as its mean. In training the path owes something to the workers' own noise; what is
    left of a bias falls with the number of workers (`docs/lag.md` has measurements).

    Prefer it where parameters are few and learning rates large, so that `NRES` diverges or swings.
    Not where parameters drift by more than two sigmas (as a norm) in an episode: few workers then
    have all the weight, and estimates are far noisier than those of `NRES`. The statistic
    `effective_workers` tells: below a tenth of the workers, take smaller steps, a larger sigma,
    `max_weight`, or `NRES`. Besides the states, parameters of as many updates are kept as an
    episode has windows.

    **Arguments:**

    - `num_workers`: antithetic pairs.
    - `window`: steps between estimates.
    - `sigma`: standard deviation of the perturbation, in units of the parameters: a positive
      number, a tree of them like the parameters, or a function from the number of estimates made
      to either. An episode keeps that of its beginning, in its weights too.
    - `pairs_per_group`: how many pairs share clock, keys and data; `num_workers` is a multiple.
    - `directions`: how directions are drawn: `GaussianDirections()`, or
      `OrthogonalDirections(size)` with a size that divides `pairs_per_group`.
    - `phases`: where in their episodes workers start, as for `NRES`.
    - `max_weight`: the largest weight, from 1 on, or `None` for no limit. A limit takes most of the
      noise of large drifts, for a bias: windows whose workers began far behind count for less.
    - `restart_drift`: workers whose parameters have drifted by more than so many sigmas, as a norm,
      begin anew, but for a quarter of them, drawn by lot, which count for those that are missing.
      The mean is the same; the noise was larger in all that was measured. `None` for never. It
      needs episodes of one length.

    **Raises:** `ValueError` for a count below 1, a sigma that is not positive, directions that are
    coupled across episodes, as the baselines are learned on earlier ones; and by `init` for more
    than 1000 parameters, or restarts in episodes that may be shorter than the horizon.

    Where episodes end early there is no baseline: whether a window is reached then depends on the
    noise, and so would the mean of what a baseline adds.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing(horizon=400)
    >>> estimator = unspool.ReweightedNRES(num_workers=200, window=10, sigma=0.3)
    >>> init, step = unspool.make_step(problem, estimator, optax.sgd(0.01))
    >>> state = init(jnp.array(0.5), key=jax.random.key(0))
    >>> for _ in range(20):
    ...     state, estimate = jax.jit(step)(state)
    >>> print(f"{state.params:.1f}")  # the optimum is -1/6; with NRES it diverges
    -0.2

    **Reference:** Li, Harrison, Sohl-Dickstein, Smith, Metz (2023), arXiv 2304.12180, for `NRES`;
    Campos, Giro-i-Nieto, Torres (2018), arXiv 1811.04624, who reweight whole episodes.
    """

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    pairs_per_group: int = eqx.field(default=1, kw_only=True)
    directions: AbstractDirections = eqx.field(default=GaussianDirections(), kw_only=True)
    phases: AbstractPhases = eqx.field(default=EvenPhases(), kw_only=True)
    max_weight: float | None = eqx.field(default=None, kw_only=True)
    restart_drift: float | None = eqx.field(default=None, kw_only=True)
    references: ClassVar[tuple[str, ...]] = ("li2023", "campos2018")

    def __check_init__(self):
        pairs = self.pairs_per_group
        check_count(num_workers=self.num_workers, window=self.window, pairs_per_group=pairs)
        check_divides("num_workers", self.num_workers, "pairs_per_group", pairs)
        refuse_coupling(self.directions, pairs, "the baseline of the losses")
        if self.max_weight is not None and not self.max_weight >= 1:
            raise ValueError(
                "max_weight must be at least 1, the weight of a worker that begins, or None, got "
                f"{self.max_weight!r}"
            )
        if self.restart_drift is not None and not self.restart_drift > 0:
            raise ValueError(
                f"restart_drift must be above 0, in sigmas, or None, got {self.restart_drift!r}"
            )
        if self.restart_drift is not None and not self.phases.num_warmup_windows(2):
            raise ValueError(
                "restart_drift is for workers that are spread over the episode at first, got "
                f"phases={self.phases!r}: have EvenPhases()"
            )

    @property
    def estimand(self) -> str:
        clipped = self.max_weight is not None
        return "smoothed gradient" + ", with weights clipped" * clipped

    @property
    def scale(self) -> AbstractSigma:
        return as_scale(self.sigma)

    def plan(self, horizon: int) -> Plan:
        window = min(self.window, horizon)
        return Plan(
            horizon=horizon,
            num_windows=-(-horizon // window),
            num_sequential_steps=window,
            num_workers=self.num_workers,
            num_rows=2 * self.num_workers,
            phases=self.phases,
            target=Target(None, None, self.sigma),
            needs_derivatives=False,
            pairs_per_group=self.pairs_per_group,
            extra_stats=("derivative_std", "effective_workers")
            + ("variance",) * (self.num_workers > self.pairs_per_group),
        )

    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        plan, scale = self.plan(engine.horizon), self.scale
        self._check_able(engine, rows.ravel(params)[0].size)
        layout = Layout(self.pairs_per_group, own=2)
        still = rows.repeat(rows.repeat(params, 1), layout.num_arms)
        trajectory = engine.start(rows.zeros_like(params), rows.repeat(key, 1), still)
        sigma = jax.tree.map(jnp.asarray, scale.init(params))
        starts = Starts.of(params, scale.stamp(sigma, jnp.zeros((), int)), plan.num_windows)
        learned = Learned(Baseline.of(plan.num_windows), sigma, starts)
        return begin_workers(key, plan, Origin(trajectory, None, layout, learned))

    def _check_able(self, engine: AbstractEngine, num_params: int) -> None:
        self.directions.check(num_params, self.pairs_per_group)
        if num_params > MOST_PARAMS:
            raise ValueError(
                f"ReweightedNRES is for at most {MOST_PARAMS} parameters, got {num_params}: so "
                "many drift too far within an episode for weights to make up for it; use NRES"
            )
        if self.restart_drift is not None and not engine.fixed_length:
            raise ValueError(
                "restart_drift needs episodes of one length, and these may end early or have "
                "random lengths: have restart_drift=None"
            )

    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        restarts = None if self.restart_drift is None else Restarts(self.restart_drift)
        settings = Reweighting(self.directions, self.scale, self.max_weight, restarts)
        num_steps = self.plan(engine.horizon).num_sequential_steps
        return ReweightedWindow.of(settings, engine, params, workers, num_steps).run(num_steps)

    def learn(self, workers: Workers, sums: WindowSums) -> Workers:
        learned = workers.learned
        return replace(
            workers, learned=learned._replace(baseline=learned.baseline.learn(sums.deposits))
        )
