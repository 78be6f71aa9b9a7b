"""One page that holds the whole report and needs nothing else: `report.html`."""

from collections.abc import Sequence
from pathlib import Path

from .._statistics.summarize import Metric, choose_metric, summarize
from ..records import RunError, Study, read_studies
from .diagnostics import study_warnings
from .sections import (
    Findings,
    charts,
    comparisons,
    final_values,
    learning_curves,
    parameters,
    pictures,
    run_settings,
    times_to_target,
)
from .style import stylesheet
from .tables import escape

SECTIONS = (
    run_settings,
    learning_curves,
    pictures,
    parameters,
    final_values,
    times_to_target,
    comparisons,
    charts,
)


def write_report(directories: Sequence[Path], output: Path) -> Path:
    """Writes one self-contained HTML page about runs and experiments, and returns its path.

    Each directory is a run or holds runs. One with an `experiment.json` becomes a part of the
    page of its own; all other runs are compared with one another. If `output` is a directory
    the page is its `report.html`. Raises `RunError` for anything missing or malformed.

    **Example**, after that of `unspool.experiments.reproduce`:

    >>> from unspool.report import write_report
    >>> page = write_report([Path("runs/small")], Path("report.html"))
    >>> "A small experiment" in page.read_text()
    True
    """
    page = render_page(read_studies(directories))
    output = Path(output)
    path = output / "report.html" if output.is_dir() else output
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}).") from None
    return path


def render_page(studies: Sequence[Study]) -> str:
    """The page as text; the same studies give the same text."""
    colors = _colors(studies)
    titles = [_title(study) for study in studies]
    parts = "\n".join(
        render_study(study, colors, f"study-{number}")
        for number, study in enumerate(studies, start=1)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(' · '.join(titles))}</title>\n"
        f"<style>{stylesheet()}</style>\n</head>\n<body>\n<main>\n{parts}\n"
        "<footer>Written by <code>unspool</code> from the directories of the runs.</footer>\n"
        "</main>\n</body>\n</html>\n"
    )


def _colors(studies: Sequence[Study]) -> dict[str, int]:
    """A number for every label of the page; runs come before the series of further charts."""
    labels = [label for study in studies for label in study.labels]
    for study in studies:
        charts = study.experiment.charts if study.experiment else ()
        labels += [series.label for chart in charts for series in chart.series]
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}


def _title(study: Study) -> str:
    if study.experiment:
        return study.experiment.title
    problems = ", ".join(dict.fromkeys(run.config.problem.name for run in study.runs))
    count = len(study.labels)
    labels = ", ".join(study.labels) if count <= 4 else f"{count} labels"
    return f"{labels} on {problems}"


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


def render_study(study: Study, colors: dict[str, int], name: str) -> str:
    """One part of the page: an experiment, or runs that are compared."""
    metric = choose_metric(study)
    summaries = summarize(study, metric)
    names = _parameter_names(study)
    findings = Findings(study, metric, summaries, names, colors, name)
    parts = [_head(study, metric)]
    for section in SECTIONS if study.runs else (charts,):
        parts += section(findings)
    return '<div class="study">\n' + "\n".join(parts) + "\n</div>"


def _head(study: Study, metric: Metric) -> str:
    lines = [f"<h1>{escape(_title(study))}</h1>"]
    experiment = study.experiment
    if experiment and experiment.source:
        lines.append(f'<p class="source">Source: {escape(experiment.source)}</p>')
    if experiment and experiment.description:
        lines.append(f"<p>{escape(experiment.description)}</p>")
    warnings = study_warnings(study)
    if metric.source == "training" and any(run.evaluation for run in study.runs):
        warnings.append(
            "Not every label has been evaluated, so the page shows the training loss, which is "
            "that of perturbed parameters for estimators that perturb."
        )
    if warnings:
        text = "".join(f"<p>{escape(warning)}</p>" for warning in warnings)
        lines.append(f'<div class="warning" role="note">{text}</div>')
    return "\n".join(lines)
