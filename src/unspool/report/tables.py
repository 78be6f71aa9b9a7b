"""The tables of the page, as HTML."""

import html
from collections.abc import Sequence

from .._statistics.intervals import Interval, format_interval, format_mean, format_number
from .._statistics.summarize import AXES, LabelSummary, Metric
from ..records import LoggedRun, Setting, Study
from .compare import Comparison
from .diagnostics import diagnose
from .options import format_options
from .style import series_variable

MAX_PARAMETER_COLUMNS = 4
MAX_PARAMETER_ROWS = 32

COST_HEADINGS = {
    "update": "updates",
    "steps": "problem steps",
    "sequential_steps": "sequential steps",
    "seconds": "seconds",
}


def escape(value: object) -> str:
    return html.escape(str(value))


def table(headings: Sequence[str], rows: Sequence[str]) -> str:
    """A table of finished rows; the headings are text."""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def label_cell(label: str, colors: dict[str, int]) -> str:
    color = series_variable(colors[label])
    swatch = f'<span class="swatch" style="background:{color}"></span>'
    return f'<th scope="row">{swatch}{escape(label)}</th>'


def legend(labels: Sequence[str], colors: dict[str, int]) -> str:
    items = "".join(
        f'<li><span class="swatch" style="background:{series_variable(colors[label])}"></span>'
        f"{escape(label)}</li>"
        for label in labels
    )
    return f'<ul class="legend">{items}</ul>'


def _interval_cell(interval: Interval) -> str:
    ends = format_interval(interval)
    below = f'<span class="ends">{escape(ends)}</span>' if ends else ""
    return f'<td><span class="value">{escape(format_mean(interval))}</span>{below}</td>'


def _setting_cell(settings: Sequence[Setting]) -> str:
    """The distinct settings of the runs of one label, one below the other."""
    lines = []
    for setting in settings:
        options = escape(format_options(setting.options))
        line = f'{escape(setting.name)} <span class="options">{options}</span>'
        if line not in lines:
            lines.append(line)
    return f"<td>{'<br>'.join(lines)}</td>"


def settings_table(study: Study, colors: dict[str, int]) -> str:
    """The settings of the runs, one row for each label."""
    rows = []
    for label in study.labels:
        runs = [run.config for run in study.runs if run.config.label == label]
        estimands = ", ".join(dict.fromkeys(run.estimator.estimand for run in runs))
        updates = ", ".join(dict.fromkeys(format_number(float(run.num_updates)) for run in runs))
        rows.append(
            f"<tr>{label_cell(label, colors)}"
            f"{_setting_cell([run.estimator for run in runs])}<td>{escape(estimands)}</td>"
            f"{_setting_cell([run.optimizer for run in runs])}<td>{escape(updates)}</td>"
            f"<td>{escape(', '.join(str(run.seed) for run in runs))}</td></tr>"
        )
    headings = ("label", "estimator", "it estimates the", "optimizer", "updates", "seeds")
    return table(headings, rows)


def facts(runs: Sequence[LoggedRun]) -> str:
    """Problems and environments of the runs, each once."""
    entries: dict[str, list[str]] = {"problem": [], "environment": []}
    for run in runs:
        options = format_options(run.config.problem.options)
        problem = f"{run.config.problem.name} ({options})" if options else run.config.problem.name
        for name, value in (
            ("problem", problem),
            ("environment", format_options(run.config.environment)),
        ):
            if value and value not in entries[name]:
                entries[name].append(value)
    lines = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape('; '.join(values))}</dd>"
        for name, values in entries.items()
        if values
    )
    return f"<dl>{lines}</dl>"


def _format_num_seeds(summary: LabelSummary) -> str:
    distinct, runs = len({run.config.seed for run in summary.runs}), len(summary.runs)
    return str(distinct) if distinct == runs else f"{distinct} ({runs} runs)"


def final_table(
    summaries: Sequence[LabelSummary],
    metric: Metric,
    names: tuple[str, ...],
    colors: dict[str, int],
) -> str:
    """Final metric and parameters of each label, with diagnostics."""
    shown = names if len(names) <= MAX_PARAMETER_COLUMNS else ()
    rows = []
    for summary in summaries:
        parameters = summary.parameters if len(summary.parameters) == len(shown) else ()
        cells = [_interval_cell(interval) for interval in parameters]
        cells += ["<td>–</td>"] * (len(shown) - len(cells))
        found = diagnose(summary, metric)
        text = "".join(f"<li>{escape(diagnostic)}</li>" for diagnostic in found)
        rows.append(
            f"<tr>{label_cell(summary.label, colors)}<td>{_format_num_seeds(summary)}</td>"
            f"{_interval_cell(summary.final)}{''.join(cells)}"
            f"<td>{f'<ul>{text}</ul>' if found else 'none'}</td></tr>"
        )
    headings = ("label", "seeds", f"final {metric.name}", *shown, "caution")
    return table(headings, rows)


def parameter_table(summaries: Sequence[LabelSummary], names: tuple[str, ...]) -> str:
    """Final parameters, one row for each: for more of them than `final_table` has room for."""
    shown = [summary for summary in summaries if len(summary.parameters) == len(names)]
    rows = []
    for index, name in enumerate(names):
        cells = "".join(_interval_cell(summary.parameters[index]) for summary in shown)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return table(("parameter", *(summary.label for summary in shown)), rows) if shown else ""


def time_to_target_table(
    summaries: Sequence[LabelSummary], metric: Metric, colors: dict[str, int]
) -> str:
    """The costs of each label up to each threshold; empty without thresholds."""
    rows = []
    for index in range(len(summaries[0].times_to_target)):
        threshold = format_number(summaries[0].times_to_target[index].threshold)
        heading = escape(f"{metric.name} {metric.reaching} {threshold}")
        rows.append(
            f'<tr class="group"><th scope="colgroup" colspan="{len(AXES) + 2}">{heading}</th></tr>'
        )
        for summary in summaries:
            time = summary.times_to_target[index]
            cells = "".join(_interval_cell(time.interval(axis)) for axis in AXES)
            rows.append(
                f"<tr>{label_cell(summary.label, colors)}"
                f"<td>{time.num_reached} of {time.num_runs}</td>{cells}</tr>"
            )
    return table(("label", "reached by", *(COST_HEADINGS[axis] for axis in AXES)), rows)


def comparison_table(comparisons: Sequence[Comparison], colors: dict[str, int]) -> str:
    """Expected ranges, what was measured, and the verdict."""
    rows = []
    for comparison in comparisons:
        claim = comparison.claim
        label = claim.label
        head = (
            label_cell(label, colors)
            if label in colors
            else f'<th scope="row">{escape(label)}</th>'
        )
        kind = "inside" if comparison.verdict == "inside" else "outside"
        if comparison.verdict == "not run":
            kind = "options"
        text = f'<br><span class="options">{escape(claim.text)}</span>' if claim.text else ""
        rows.append(
            f"<tr>{head}<td>{escape(comparison.statistic)}{text}</td>"
            f"<td>{escape(comparison.expected)}</td><td>{escape(comparison.measured)}</td>"
            f'<td><span class="{kind}">{escape(comparison.verdict)}</span></td></tr>'
        )
    return table(("label", "statistic", "expected", "measured", "verdict"), rows)
