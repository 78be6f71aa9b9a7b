"""The sections of a report: figures and tables with their captions."""

import base64
from dataclasses import dataclass

from .._statistics.intervals import format_number
from .._statistics.summarize import MAX_POINTS, LabelSummary, Metric
from ..records import Study
from .compare import compare
from .figures import Drawing, draw_chart, draw_metric, draw_parameters
from .paths import draw_paths
from .tables import (
    MAX_PARAMETER_COLUMNS,
    MAX_PARAMETER_ROWS,
    comparison_table,
    escape,
    facts,
    final_table,
    legend,
    parameter_table,
    settings_table,
    time_to_target_table,
)

FIGURE_TITLES = {
    "steps": "against all problem steps",
    "sequential_steps": "against sequential steps",
    "seconds": "against training time",
}


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings that a part of the page is written from.

    `colors` numbers the labels of the whole page; `name` tells the part's figures from others.
    """

    study: Study
    metric: Metric
    summaries: tuple[LabelSummary, ...]
    parameter_names: tuple[str, ...]
    colors: dict[str, int]
    name: str


def _heading(text: str) -> str:
    return f"<h2>{escape(text[0].upper() + text[1:])}</h2>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _figure(drawing: Drawing, caption: str = "", kind: str = "") -> str:
    text = escape(" ".join((caption, *drawing.notes)).strip())
    below = f"<figcaption>{text}</figcaption>" if text else ""
    opening = f'<figure class="{kind}">' if kind else "<figure>"
    return f'{opening}<div class="drawing">{drawing.svg}</div>{below}</figure>'


def run_settings(findings: Findings) -> list[str]:
    return [
        _heading("what was run"),
        facts(findings.study.runs),
        settings_table(findings.study, findings.colors),
    ]


def learning_curves(findings: Findings) -> list[str]:
    """The metric against each cost."""
    summaries, metric = findings.summaries, findings.metric
    parts = []
    for axis, title in FIGURE_TITLES.items():
        name = f"{findings.name}-{axis}"
        drawing = draw_metric(summaries, metric, axis, findings.colors, name)
        if drawing is not None:
            text = f"{metric.name} {title}"
            parts += [f"<h3>{escape(text[0].upper() + text[1:])}</h3>", _figure(drawing)]
    if not parts:
        return [_heading(metric.name), "<p>No run has two finite values to draw.</p>"]
    labels = legend([summary.label for summary in summaries], findings.colors)
    labels = labels if len(summaries) > 1 else ""
    return [_heading(metric.name), _note(_curve_note(findings)), labels, *parts]


def _curve_note(findings: Findings) -> str:
    """A note on how the curves were computed."""
    summaries, metric = findings.summaries, findings.metric
    sentences = []
    if any(len(summary.series) > 1 for summary in summaries):
        sentences.append("Lines are means over seeds, bands their 95 % t-intervals.")
        if metric.scale == "log":
            sentences.append(
                "On the logarithmic axis both are taken of the logarithms: the line is a "
                "geometric mean."
            )
        sentences.append("Runs are interpolated on the range that all seeds of a label cover.")
    if metric.clipped:
        floor = format_number(float(f"{metric.floor:.3g}"))
        sentences.append(f"Values of zero or less are drawn at the smallest positive one, {floor}.")
    sentences.append(
        f"Curves have at most {MAX_POINTS} points. Evaluations are not counted as cost."
    )
    if metric.source == "training":
        sentences.append(
            "The loss is that of training, at perturbed parameters where those are used."
        )
    thresholds = [format_number(time.threshold) for time in summaries[0].times_to_target]
    if thresholds:
        sentences.append(f"Dotted lines mark {', '.join(thresholds)}.")
    missing = [summary.label for summary in summaries if not summary.series]
    if missing:
        sentences.append(f"Without a curve: {', '.join(missing)}.")
    return " ".join(sentences)


def parameters(findings: Findings) -> list[str]:
    """Paths over the surface where the experiment has one, else each parameter over time."""
    summaries, names, colors = findings.summaries, findings.parameter_names, findings.colors
    experiment = findings.study.experiment
    if experiment and experiment.surface:
        drawing = draw_paths(summaries, experiment, names, colors, f"{findings.name}-paths")
        return [_heading("parameter paths"), _figure(drawing, kind="light")] if drawing else []
    if not 0 < len(names) <= MAX_PARAMETER_COLUMNS:
        return []
    drawing = draw_parameters(summaries, names, colors, f"{findings.name}-parameters")
    if drawing is None:
        return []
    several = any(len(summary.runs) > 1 for summary in summaries)
    caption = "Lines are means over seeds, bands their 95 % t-intervals." if several else ""
    return [_heading("parameters"), _figure(drawing, caption)]


def final_values(findings: Findings) -> list[str]:
    metric = findings.metric
    note = (
        f"The final {metric.name} of a run is the mean of its last 20 % of values, and its final "
        "parameters are those of its last record. Means over seeds, with 95 % t-intervals below, "
        "in the digits that their standard errors allow."
    )
    names, colors = findings.parameter_names, findings.colors
    more = []
    if MAX_PARAMETER_COLUMNS < len(names) <= MAX_PARAMETER_ROWS:
        more.append(parameter_table(findings.summaries, names))
    return [
        _heading("where it ends"),
        final_table(findings.summaries, metric, names, colors),
        *more,
        _note(note),
    ]


def times_to_target(findings: Findings) -> list[str]:
    if not findings.summaries[0].times_to_target:
        return []
    note = (
        f"The first value {findings.metric.reaching} the threshold counts, and noise makes it come "
        "early. Means "
        "are over the seeds that reached it, so they flatter a label that not all seeds reached; "
        "problem steps and sequential steps have the warm-up in, seconds leave compilation out."
    )
    return [
        _heading("what it costs to get there"),
        time_to_target_table(findings.summaries, findings.metric, findings.colors),
        _note(note),
    ]


def comparisons(findings: Findings) -> list[str]:
    """Expected ranges against what was measured."""
    experiment = findings.study.experiment
    if experiment is None or not experiment.all_claims:
        return []
    found = compare(experiment, findings.summaries, findings.metric, findings.parameter_names)
    judged = [comparison for comparison in found if comparison.verdict != "not run"]
    inside = sum(comparison.verdict == "inside" for comparison in judged)
    note = (
        "The verdict is about the mean over all seeds: if a seed never reached a threshold, or "
        "ended without a finite value, it is “outside” whatever the others did."
    )
    return [
        _heading("expected against measured"),
        f"<p>{inside} of {len(judged)} measured statistics lie inside the expected range.</p>",
        comparison_table(found, findings.colors),
        _note(note),
    ]


def pictures(findings: Findings) -> list[str]:
    """The pictures that the experiment drew, as part of the page."""
    study, parts = findings.study, []
    for picture in study.experiment.pictures if study.experiment else ():
        data = base64.b64encode((study.directory / picture.file).read_bytes()).decode()
        image = f'<img src="data:image/png;base64,{data}" alt="{escape(picture.title)}">'
        parts += [
            _heading(picture.title),
            f'<figure><div class="drawing">{image}</div>'
            f"<figcaption>{escape(picture.note)}</figcaption></figure>",
        ]
    return parts


def charts(findings: Findings) -> list[str]:
    """The charts that the experiment brought along."""
    experiment = findings.study.experiment
    parts = []
    for number, chart in enumerate(experiment.charts if experiment else (), start=1):
        drawing = draw_chart(chart, findings.colors, f"{findings.name}-chart-{number}")
        labels = list(dict.fromkeys(series.label for series in chart.series))
        parts += [_heading(chart.title), legend(labels, findings.colors)]
        parts.append(_figure(drawing, chart.note))
    return parts
