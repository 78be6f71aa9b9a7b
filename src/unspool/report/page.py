"""One page that holds the whole report and needs nothing else: `report.html`."""

from collections.abc import Sequence
from pathlib import Path

from ..records import RunError, Study, read_studies
from .part import Part
from .render import render


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
    parts = [
        Part.of(study, colors, f"study-{number}") for number, study in enumerate(studies, start=1)
    ]
    return render("page.html", parts=parts, colors=colors)


def _colors(studies: Sequence[Study]) -> dict[str, int]:
    """A number for every label of the page; runs come before the series of further charts."""
    labels = [label for study in studies for label in study.labels]
    for study in studies:
        charts = study.experiment.charts if study.experiment else ()
        labels += [series.label for chart in charts for series in chart.series]
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}
