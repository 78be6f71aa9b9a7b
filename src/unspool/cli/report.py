"""`unspool report`: the runs in some directories as one page."""

from pathlib import Path
from typing import Annotated

from .._report import report as _report
from .parse import Help


def report(
    runs: Annotated[tuple[Path, ...], Help("runs, or directories of runs", metavar="RUN ...")],
    /,
    *,
    output: Annotated[Path, Help("the page")] = Path("report.html"),
) -> None:
    """Write a page of figures and tables about runs: one HTML file, complete in itself."""
    print(_report.report(runs, output))
