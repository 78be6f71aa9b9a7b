"""Kernel A: estimators that perturb the parameters and weigh derivatives with scores."""

import abc

from .._counts import check_count, check_divides
from .._custom_types import Params, RandomKey
from .._engine import AbstractEngine
from .._params import count_numbers
from .._target import Target
from .base import AbstractEstimator
from .combinations import check_combination, check_rounds, with_directions
from .estimate import WindowSums
from .perturbed_state import init_carried, init_learned, learn_control
from .perturbed_window import PerturbedWindow
from .plan import Plan
from .sigma import AbstractSigma
from .tableau import Tableau, check_period
from .workers import Origin, Workers, begin_workers


class AbstractPerturbed(AbstractEstimator):
    r"""The kernel of all estimators that perturb.

    $$ \hat g = \frac{n}{T} \frac{1}{N} \sum_{i=1}^{N} \sum_{\text{segments}} \Big[
       a \, p + \big( D_i - a \, p \cdot \sigma z_i \big) \sum_j \frac{z_{i,j}}{\sigma_j} \Big] $$

    over $N$ pairs and the segments of a window, in which no direction changes, with $n$ windows to
    an episode of $T$ steps. $D$ is the directional derivative of the segment's loss along the
    perturbation $\sigma z$; the sum is that of the scores $z / \sigma$ that the arms have lived
    through since they were together. A control variate, if there is one, is a guess $p$ of the
    gradient that owes nothing to the perturbation, and its coefficient $a$. A member of the family
    is a `Tableau`.
    """

    @property
    @abc.abstractmethod
    def tableau(self) -> Tableau:
        """This member's row of the table."""

    @property
    def scale(self) -> AbstractSigma | None:
        return self.tableau.scale if self.tableau.probe.smooths else None

    def tableau_for(self, engine: AbstractEngine, params: Params) -> Tableau:
        """The row, with the directions that are drawn for these parameters."""
        return with_directions(self.tableau, engine, count_numbers(params), self.num_workers)

    def __check_init__(self):
        tableau = self.tableau
        window, period, pairs = tableau.window, tableau.period, tableau.pairs
        check_count(
            num_workers=self.num_workers, window=window, period=period, pairs_per_group=pairs
        )
        check_divides("num_workers", self.num_workers, "pairs_per_group", pairs)
        check_period(window, period)
        check_combination(tableau, self.num_workers)

    def plan(self, horizon: int) -> Plan:
        tableau = self.tableau
        window = min(tableau.window or horizon, horizon)
        segment = min(tableau.period or horizon, window)
        num_groups = self.num_workers // tableau.pairs
        reach = tableau.window if tableau.rejoins else None
        sigma = tableau.sigma if tableau.probe.smooths else 0.0
        return Plan(
            horizon=horizon,
            num_windows=-(-horizon // window),
            num_sequential_steps=-(-window // segment) * segment,
            num_workers=self.num_workers,
            num_rows=num_groups * tableau.probe.layout(tableau.pairs).num_arms,
            phases=tableau.phases,
            target=Target(reach, tableau.period, sigma),
            needs_derivatives=tableau.probe.needs_derivatives,
            needs_copies=tableau.rejoins,
            pairs_per_group=tableau.pairs,
            extra_stats=(*tableau.extra_stats, *("variance",) * (num_groups > 1)),
        )

    def init_part(self, engine: AbstractEngine, params: Params, key: RandomKey) -> Workers:
        tableau, plan = self.tableau_for(engine, params), self.plan(engine.horizon)
        check_rounds(tableau, engine)
        tableau.directions.check(count_numbers(params), tableau.pairs)
        branches, carried = init_carried(tableau, engine, params, key)
        learned = init_learned(tableau, plan.num_windows, params)
        layout = tableau.probe.layout(tableau.pairs)
        return begin_workers(key, plan, Origin(branches.trajectories, carried, layout, learned))

    def advance(
        self, engine: AbstractEngine, params: Params, workers: Workers
    ) -> tuple[WindowSums, Workers]:
        return PerturbedWindow.of(self.tableau_for(engine, params), engine, params, workers).run()

    def learn(self, workers: Workers, sums: WindowSums) -> Workers:
        return learn_control(self.tableau.control, workers, sums.deposits)
