"""`unspool report`: the runs in some directories as one page."""

from collections.abc import Sequence
from pathlib import Path

from .mistakes import Mistake
from .options import NAMES, Option, read


def report(words: Sequence[str]) -> int:
    """Writes the page and prints its path."""
    given = read(
        words,
        prog="unspool report",
        description="Writes a page of figures and tables about runs: one HTML file, complete in "
        "itself.",
        page=[
            Option("runs", NAMES, (), "runs, or directories of runs", "none"),
            Option("output", str, "report.html", "the page"),
        ],
    )["page"]
    if not given["runs"]:
        raise Mistake("name at least one RUN, or a directory of runs")
    output = Path(given["output"])
    write_page([Path(run) for run in given["runs"]], output)
    print(output)
    return 0


def write_page(directories: Sequence[Path], output: Path) -> None:
    """Writes the page of these directories; raises `Mistake` if there is nothing to show."""
    # Drawing needs what comes with the extra, and takes long to import.
    from ..report import ReportError, write_report

    try:
        write_report(directories, output)
    except ReportError as error:
        raise Mistake(str(error)) from error
