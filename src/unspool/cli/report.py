"""`unspool report`: the runs in some directories as one page."""

from collections.abc import Sequence
from pathlib import Path

from .._config.options import Option
from .errors import UsageError
from .options import POSITIONAL, parse

OPTIONS = [
    Option("runs", POSITIONAL, (), "runs, or directories of runs", "none"),
    Option("output", str, "report.html", "the page"),
]


def report(argv: Sequence[str]) -> int:
    """Writes the page and prints its path."""
    given = parse(
        argv,
        prog="unspool report",
        description="Writes a page of figures and tables about runs: one HTML file, complete in "
        "itself.",
        page=OPTIONS,
    )["page"]
    if not given["runs"]:
        raise UsageError("name at least one RUN, or a directory of runs")
    output = Path(given["output"])
    write_page([Path(run) for run in given["runs"]], output)
    print(output)
    return 0


def write_page(directories: Sequence[Path], output: Path) -> None:
    """Writes the page of these directories; raises `UsageError` if there is nothing to show."""
    # Drawing needs what comes with the extra, and takes long to import.
    from ..records import RunError
    from ..report import write_report

    try:
        write_report(directories, output)
    except RunError as error:
        raise UsageError(str(error)) from error
