"""One part of the page: an experiment, or runs that are compared, as its template needs them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from .._statistics.summarize import (
    LabelSummary,
    Metric,
    choose_metric,
    summarize,
    training_metric,
)
from ..records import LoggedRun, Study
from .compare import Comparison, compare
from .data import csv_link
from .diagnostics import study_warnings
from .drawing import Colors, Drawing
from .figures import draw_diagnostics, draw_metric, draw_parameters
from .labels import list_labels
from .options import format_options
from .paths import draw_paths
from .ranking import Standing, rank, verdict
from .references import Paper, papers_of
from .render import MAX_PARAMETER_COLUMNS
from .tables import finals_table

_CURVE_TITLES = {
    "steps": "against all problem steps",
    "sequential_steps": "against sequential steps",
    "seconds": "against training time",
}


@dataclass(frozen=True, eq=False)
class Part:
    """The study of one part of the page, and what is found in it.

    `colors` numbers the labels of the whole page; `name` tells the part's figures from others.
    """

    study: Study
    colors: Colors
    name: str
    metric: Metric
    summaries: tuple[LabelSummary, ...]
    parameter_names: tuple[str, ...]

    @classmethod
    def of(cls, study: Study, colors: Colors, name: str) -> "Part":
        """The part of a study, its statistics computed."""
        metric = choose_metric(study)
        return cls(study, colors, name, metric, summarize(study, metric), _parameter_names(study))

    @property
    def title(self) -> str:
        study = self.study
        if study.experiment:
            return study.experiment.title
        problems = ", ".join(dict.fromkeys(run.config.problem.name for run in study.runs))
        count = len(study.labels)
        labels = list_labels(study.labels) if count <= 4 else f"{count} labels"
        return f"{labels} on {problems}"

    @property
    def warnings(self) -> list[str]:
        warnings = study_warnings(self.study)
        if self.metric.source == "training" and any(run.evaluation for run in self.study.runs):
            warnings.append(
                "Not every label has been evaluated, so the page shows the training loss, which is "
                "that of perturbed parameters for estimators that perturb."
            )
        return warnings

    @property
    def facts(self) -> dict[str, list[str]]:
        """Problems and environments of the runs, each once."""
        return {
            "problem": _distinct(_format_problem(run) for run in self.study.runs),
            "environment": _distinct(format_options(r.config.environment) for r in self.study.runs),
        }

    @property
    def has_several_seeds(self) -> bool:
        return any(len(summary.series) > 1 for summary in self.summaries)

    @property
    def has_several_runs(self) -> bool:
        return any(len(summary.runs) > 1 for summary in self.summaries)

    @cached_property
    def standings(self) -> list[Standing]:
        """The labels, the best first."""
        return rank(self.summaries, self.metric)

    @property
    def verdict(self) -> list[str]:
        """Which label ends best, by how much, over how many seeds and at what cost."""
        return verdict(self.standings, self.metric)

    @cached_property
    def curves(self) -> dict[str, Drawing]:
        """The metric against each cost, by title."""
        found = {}
        for axis, title in _CURVE_TITLES.items():
            name = f"{self.name}-{axis}"
            drawing = draw_metric(self.summaries, self.metric, axis, self.colors, name)
            if drawing is not None:
                found[title] = drawing
        return found

    @cached_property
    def training(self) -> Drawing | None:
        """The training loss, where what is shown above are evaluations."""
        if self.metric.source == "training" or not self.study.runs:
            return None
        metric = training_metric(self.study)
        found = summarize(Study(self.study.runs, None, self.study.directory), metric)
        return draw_metric(found, metric, "steps", self.colors, f"{self.name}-training")

    @cached_property
    def diagnostics(self) -> Drawing | None:
        """Signal to noise, lag and sigma, where they are logged."""
        return draw_diagnostics(self.summaries, self.colors, f"{self.name}-diagnostics")

    @cached_property
    def paths(self) -> Drawing | None:
        """Paths of the parameters over the surface, where the experiment has one."""
        experiment = self.study.experiment
        if experiment is None or not experiment.surface:
            return None
        name = f"{self.name}-paths"
        return draw_paths(self.summaries, experiment, self.parameter_names, self.colors, name)

    @cached_property
    def parameters(self) -> Drawing | None:
        """Each parameter over time, where there are few and no surface."""
        experiment, names = self.study.experiment, self.parameter_names
        if experiment and experiment.surface or not 0 < len(names) <= MAX_PARAMETER_COLUMNS:
            return None
        return draw_parameters(self.summaries, names, self.colors, f"{self.name}-parameters")

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Expected ranges against what was measured."""
        experiment = self.study.experiment
        if experiment is None:
            return []
        return compare(experiment, self.summaries, self.metric, self.parameter_names)

    @property
    def finals_link(self) -> str:
        """The final values of every run as a CSV file."""
        return csv_link(finals_table(self.summaries, self.metric, self.parameter_names))

    @property
    def papers(self) -> list[Paper]:
        return papers_of(self.study)


def _parameter_names(study: Study) -> tuple[str, ...]:
    """One name for each parameter; empty unless all runs have the same number of them."""
    counts = {run.config.num_params for run in study.runs}
    if len(counts) != 1:
        return ()
    count = counts.pop()
    candidates = [study.experiment.parameter_names if study.experiment else None]
    candidates += [run.config.parameter_names for run in study.runs]
    for names in candidates:
        if names is not None and len(names) == count:
            return tuple(names)
    return tuple(f"parameter {index}" for index in range(count))


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(filter(None, texts)))


def _format_problem(run: LoggedRun) -> str:
    problem = run.config.problem
    options = format_options(problem.options)
    return f"{problem.name} ({options})" if options else problem.name
