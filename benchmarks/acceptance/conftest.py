"""Acceptance checks run whole experiments, once each, with the defaults of the command line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from unspool._statistics.intervals import format_estimate, t_interval
from unspool._statistics.summarize import (
    LabelSummary,
    choose_metric,
    summarize,
    time_to_target,
)
from unspool.experiments import AbstractExperiment, reproduce
from unspool.records import Claim, Study, read_studies


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of an experiment, label by label."""

    study: Study
    labels: dict[str, LabelSummary]

    def unmet_claims(self, num_errors: float = 2.0) -> list[str]:
        """The published ranges that the mean over seeds lies outside of, by so many errors.

        One is also unmet if a seed has no finite value, or if the mean is so uncertain that hardly
        any could be outside: its standard error is more than twice as large as the range.
        """
        unmet = []
        for claim in self.study.experiment.all_claims:
            values = self.values(claim)
            found, (low, high) = t_interval(values), claim.ends
            slack = num_errors * found.standard_error
            certain = found.count == len(values) and found.standard_error <= 2 * (high - low)
            if not (certain and low - slack <= found.mean <= high + slack):
                unmet.append(f"{claim.label}, {claim.statistic}: {format_estimate(found)}")
        return unmet

    def values(self, claim: Claim) -> np.ndarray:
        """What a claim is about, for each seed."""
        kind, _, detail = claim.statistic.partition(":")
        if kind == "parameter":
            return self.params(claim.label)[:, int(detail)]
        return self.first(claim.label, float(detail)) if detail else self.finals(claim.label)

    def claims(self, label: str) -> dict[str, Claim]:
        """The published ranges of a label, by statistic."""
        every = self.study.experiment.all_claims
        return {claim.statistic: claim for claim in every if claim.label == label}

    def finals(self, label: str) -> np.ndarray:
        """The mean of the last fifth of the evaluations of each seed."""
        return self.labels[label].finals

    def first(self, label: str, threshold: float, axis: str = "update") -> np.ndarray:
        """Where each seed first reaches a threshold; NaN if never."""
        metric = choose_metric(self.study)
        return time_to_target(self.labels[label].runs, metric, threshold).positions[axis]

    def params(self, label: str) -> np.ndarray:
        """The last parameters of each seed."""
        return np.array([run.metrics.params[-1] for run in self.labels[label].runs])

    def losses_at(self, label: str, update: int) -> np.ndarray:
        """The evaluation of each seed at an update."""
        found = [run.evaluation for run in self.labels[label].runs]
        return np.array([e.loss[e.update == update][0] for e in found])


def run(experiment: AbstractExperiment, directory: Path) -> Outcome:
    """Runs an experiment, or what is missing of it, and sums it up."""
    reproduce(experiment, directory)
    (study,) = read_studies([directory])
    summaries = summarize(study, choose_metric(study))
    return Outcome(study, {summary.label: summary for summary in summaries})


@pytest.fixture(scope="session")
def outcome(tmp_path_factory):
    """Runs an experiment with its defaults, once for all checks."""
    known: dict[type, Outcome] = {}

    def get(make) -> Outcome:
        if make not in known:
            known[make] = run(make(), tmp_path_factory.mktemp(make.name))
        return known[make]

    return get


@pytest.fixture
def gap():
    """The mean difference between two rows of seeds, and its standard error."""

    def get(more: np.ndarray, less: np.ndarray) -> tuple[float, float]:
        difference = t_interval(more - less)
        return difference.mean, difference.standard_error

    return get
