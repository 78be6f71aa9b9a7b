"""The sections of a part of the page, from which its table of contents is made."""

import base64
from dataclasses import dataclass
from typing import NamedTuple

from ..records.files import inside
from .drawing import Drawing
from .figures import draw_chart
from .part import Part


@dataclass(frozen=True)
class Section:
    """A section: its address in the page, its heading, its template and what that shows."""

    id: str
    title: str
    template: str
    content: object = None


class DrawnChart(NamedTuple):
    """A chart that the experiment brought along, and the labels of its legend."""

    note: str
    labels: list[str]
    drawing: Drawing


class ShownPicture(NamedTuple):
    """A picture that the experiment drew, its file in base64."""

    title: str
    note: str
    data: str


def sections_of(part: Part) -> list[Section]:
    """The sections that have something to show, in order."""
    found: list[Section] = []

    def add(name: str, title: str, content: object) -> None:
        if content:
            template = f"sections/{name.partition('-')[0]}.html"
            title = title[:1].upper() + title[1:]
            found.append(Section(f"{part.name}-at-{name}", title, template, content))

    if part.study.runs:
        add("summary", "In short", part.verdict)
        add("metric", part.metric.name, True)
        add("ends", "Where it ends", True)
        add("costs", "What it costs to get there", part.summaries[0].times_to_target)
        add("expected", "Expected against measured", part.comparisons)
        add("paths", "Parameter paths", part.paths)
        add("parameters", "Parameters", part.parameters)
        add("training", "Training loss", part.training)
        add("diagnostics", "What limits the training", part.diagnostics)
    for number, picture in enumerate(_pictures(part), start=1):
        add(f"picture-{number}", picture.title, picture)
    tables = part.study.experiment.tables if part.study.experiment else ()
    for number, table in enumerate(tables, start=1):
        add(f"table-{number}", table.title, table)
    charts = part.study.experiment.charts if part.study.experiment else ()
    for number, chart in enumerate(charts, start=1):
        labels = list(dict.fromkeys(series.label for series in chart.series))
        drawing = draw_chart(chart, part.colors, f"{part.name}-chart-{number}")
        add(f"chart-{number}", chart.title, DrawnChart(chart.note, labels, drawing))
    if part.study.runs:
        add("runs", "What was run", True)
    add("papers", "Papers", part.papers)
    return found


def _pictures(part: Part) -> list[ShownPicture]:
    directory, experiment = part.study.directory, part.study.experiment
    return [
        ShownPicture(
            picture.title,
            picture.note,
            base64.b64encode(inside(directory, picture.file).read_bytes()).decode(),
        )
        for picture in (experiment.pictures if experiment else ())
    ]
