"""`unspool report`: the runs in some directories as one page."""

from collections.abc import Sequence
from pathlib import Path

from .options import Parser


def report(words: Sequence[str]) -> int:
    """Writes the page and prints its path."""
    parser = Parser(
        prog="unspool report",
        description="Writes a page of figures and tables about runs: one HTML file, complete in "
        "itself.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, or a directory of runs")
    parser.add_argument(
        "--output", metavar="FILE", default="report.html", help="the page (default: %(default)s)"
    )
    given = parser.read(words)
    # Drawing needs what comes with the extra, and takes long to import.
    from ..report import write_report

    output = Path(given["output"])
    write_report([Path(run) for run in given["runs"]], output)
    print(output)
    return 0
