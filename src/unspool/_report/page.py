"""One page that holds the whole report and needs nothing else: `report.html`."""

from collections.abc import Sequence

from ..records import Study
from .part import Part
from .render import render
from .sections import sections_of


def render_page(studies: Sequence[Study]) -> str:
    """The page as text; the same studies give the same text."""
    colors = _colors(studies)
    parts = [
        Part.of(study, colors, f"study-{number}") for number, study in enumerate(studies, start=1)
    ]
    sections = {part.name: sections_of(part) for part in parts}
    return render("page.html", parts=parts, sections=sections, colors=colors)


def _colors(studies: Sequence[Study]) -> dict[str, int]:
    """A number for every label of the page; runs come before the series of further charts."""
    labels = [label for study in studies for label in study.labels]
    for study in studies:
        charts = study.experiment.charts if study.experiment else ()
        labels += [series.label for chart in charts for series in chart.series]
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}
