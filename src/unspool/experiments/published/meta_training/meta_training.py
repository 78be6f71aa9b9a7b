"""Shared code of the experiments on meta-training learned optimizers."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .... import GPES, NRES, data
from ...._counts import check_fields
from ...._custom_types import RandomKey
from ...._estimator import AbstractEstimator
from ...._random import seeded_key
from ...._statistics.intervals import format_estimate, t_interval
from ...._statistics.summarize import final_value
from ....problems.learned_optimizer import MLPOptimizer, OptimizerTraining, Task
from ....records import Chart
from ...base import AbstractExperiment, Entry, EvaluationPlan, Measurement, Optimizer, Trace, adam
from ...prose import prose
from ..as_published import as_published
from ..incumbent import format_differences, format_final_losses
from ..variance import geometric_series, measured_series, variance_of_one_worker

SIGMA = 0.01
_NUM_RECORDS = 40
_SHARES = (0.25, 0.5, 1.0)
_NUM_EPISODES = 10


def published_adam(learning_rate: float) -> Optimizer:
    """Adam with a further 1e-8 inside of its root, as published."""
    return adam(learning_rate, eps_root=1e-8)


@dataclass(frozen=True)
class AbstractMetaTraining(AbstractExperiment):
    """The per-parameter network of Metz et al., meta-trained by several estimators.

    All runs start from the same parameters and have one inner run, as published: seeds differ in
    the estimators' noise alone. The labels NRES, PES and TES are of the same problem.
    """

    source: ClassVar[str] = "Li et al. (2023), arXiv 2304.12180"
    references: ClassVar[tuple[str, ...]] = ("li2023", "metz2019")
    parameter_names: ClassVar[tuple[str, ...]] = ()
    sequence_seed: ClassVar[int]
    init_seed: ClassVar[int]

    seeds: int = 5
    data_dir: str | None = None
    num_steps: int = 320_000
    horizon: int = 500
    num_workers: int = 50
    window: int = 2
    batch_size: int = 32

    def __post_init__(self):
        check_fields(self)
        if self.horizon % self.window:
            raise ValueError(
                f"window must divide horizon = {self.horizon}, got {self.window}; the nearest "
                f"legal value is {_nearest_divisor(self.horizon, self.window)}"
            )

    @property
    @abc.abstractmethod
    def problem(self) -> OptimizerTraining:
        """The meta-training of NRES, PES and TES."""

    @property
    def periods(self) -> dict[str, int]:
        """The labels that differ in the period of their noise alone, and the period."""
        return {"PES": self.window, "NRES": self.horizon}

    @property
    def num_params(self) -> int:
        """The parameters of the learned optimizer."""
        start = self.problem.init_params(key=seeded_key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(start))

    @staticmethod
    def digits() -> data.Dataset:
        """The digits of scikit-learn, writers mixed, for the last fifth is held out."""
        (digits,) = data.split(data.digits(), -1)
        return digits

    def meta_training(self, task: Task) -> OptimizerTraining:
        """The published optimizer on a task, always the same run of it."""
        return OptimizerTraining(
            optimizer=MLPOptimizer(),
            task=task,
            horizon=self.horizon,
            sequence_seed=self.sequence_seed,
            init_seed=self.init_seed,
        )

    def meta_entry(
        self,
        label: str,
        problem: OptimizerTraining,
        estimator: AbstractEstimator,
        optimizer: Optimizer,
        num_steps: int | None = None,
    ) -> Entry:
        """A training of so many problem steps, warming up included; by default `num_steps`."""
        steps = estimator.plan(self.horizon).num_steps
        left = (num_steps or self.num_steps) - estimator.plan(
            self.horizon
        ).num_warmup_windows * steps
        num_updates = max(1, left // steps)
        every = max(1, num_updates // _NUM_RECORDS)
        # Whole segments between records: a shorter last one would be compiled for itself.
        num_updates -= num_updates % every
        plan = EvaluationPlan(problem, every)
        return Entry(label, problem, as_published(estimator), optimizer, num_updates, every, plan)

    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(map(self._measurement, self.periods))

    def _measurement(self, label: str) -> Measurement:
        """At each share of the run of NRES two variances, of a worker and over an episode."""
        problem, period = self.problem, self.periods[label]
        one = NRES(1, self.window, sigma=SIGMA)
        if period < self.horizon:
            one = GPES(1, self.window, period, sigma=SIGMA)
        like = problem.init_params(key=seeded_key(0))

        def measure(key: RandomKey, traces: Mapping[str, Trace]) -> tuple[list[float], float]:
            path, found = traces["NRES"].params, []
            unravel = ravel_pytree(like)[1]
            for share, at in zip(_SHARES, jax.random.split(key, len(_SHARES)), strict=True):
                point = path[round(share * (len(path) - 1))]
                params = unravel(jnp.asarray(point, jnp.result_type(float)))
                keys = jax.random.split(at, _NUM_EPISODES)
                found += variance_of_one_worker(problem, one, params, keys)
            return found, float(traces["NRES"].losses[-1])

        steps = len(_SHARES) * _NUM_EPISODES * one.plan(self.horizon).num_rows * self.horizon
        return Measurement(f"variance of {label}", steps, measure)

    def measured_charts(self, measured):
        tables = [measured.get(f"variance of {label}") for label in self.periods]
        found = [table for table in tables if table is not None]
        if len(found) < len(tables):
            return []
        seeds = min(map(len, found))
        of_worker, of_episode = (
            np.stack([table[:seeds, first::2] for table in found], axis=1) for first in (0, 1)
        )
        periods, series = np.array([*self.periods.values()]), []
        for index, share in enumerate(_SHARES):
            label = f"after {share:.0%} of the updates"
            series += geometric_series(label, periods, of_worker[:, :, index])
        order = [*self.periods].index("NRES")
        num_workers = self.horizon // self.window
        reused, whole = of_worker[:, order] / num_workers, of_episode[:, order]
        ratios = np.exp(np.mean(np.log(whole / reused), axis=0))
        equal = prose(
            __name__,
            "equal",
            steps=2 * self.horizon,
            workers=num_workers,
            seeds=seeds,
            ratios=", ".join(f"{ratio:.3g}" for ratio in ratios),
        )
        return [
            Chart(
                title="The variance of one worker against the period of its noise",
                y_label="total variance",
                y_scale="log",
                x_label="period, from that of PES to that of NRES",
                x_scale="log",
                note=prose(__name__, "variance", episodes=_NUM_EPISODES, seeds=seeds),
                series=series,
            ),
            Chart(
                title="NRES and FullES at equal compute",
                y_label="total variance",
                y_scale="log",
                x_label="share of the updates of NRES",
                note=equal,
                series=[
                    *geometric_series("NRES", np.array(_SHARES), reused),
                    *geometric_series("FullES", np.array(_SHARES), whole),
                ],
            ),
        ]

    def charts(self, traces):
        found = {label: traces.get(label, ()) for label in self.periods}
        seeds = min(map(len, found.values()))
        if not seeds:
            return []
        table = np.array([[final_value(trace.losses) for trace in found[k][:seeds]] for k in found])
        periods = np.array([*self.periods.values()])
        slope = t_interval(np.polyfit(np.log10(periods), table, 1)[0])
        compared = (("NRES", ["PES", "TES"]), ("PES", ["TES"]))
        gaps = [format_differences(traces, label, others) for label, others in compared]
        note = prose(
            __name__,
            "final",
            seeds=seeds,
            ends=format_final_losses({label: found for label, found in traces.items() if found}),
            gaps=[gap for gap in gaps if gap],
            slope=format_estimate(slope),
        )
        return [
            Chart(
                title="Where meta-training ends against the period of the noise",
                x_label="period, from that of PES to that of NRES",
                y_label="meta-loss",
                x_scale="log",
                y_scale="log",
                note=note,
                series=measured_series("periods", periods, table.T),
            )
        ]


def _nearest_divisor(number: int, wanted: int) -> int:
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    return min(divisors, key=lambda n: abs(n - wanted))
