"""`unspool report`: the runs in some directories as one page."""

from pathlib import Path
from typing import Annotated

from .parse import Help


def report(
    runs: Annotated[tuple[Path, ...], Help("runs, or directories of runs", metavar="RUN ...")],
    /,
    *,
    output: Annotated[Path, Help("the page")] = Path("report.html"),
) -> None:
    """Write a page of figures and tables about runs: one HTML file, complete in itself."""
    # Drawing needs what comes with the extra, and takes long to import.
    from ..report import write_report

    print(write_report(runs, output))
