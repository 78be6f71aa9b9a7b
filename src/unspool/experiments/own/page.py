"""An experiment that ends with its page."""

from collections.abc import Callable
from pathlib import Path

from ..._report.report import report
from ..base import AbstractExperiment
from ..runner import Progress, reproduce


def run_with_page(
    experiment: AbstractExperiment,
    directory: Path,
    *,
    num_processes: int | None = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Runs what is not finished, as `reproduce`, and returns the page `report.html`."""
    reproduce(experiment, directory, num_processes=num_processes, on_progress=on_progress)
    return report(directory, directory / "report.html")
