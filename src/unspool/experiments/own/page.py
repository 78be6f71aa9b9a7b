"""An experiment that ends with its page."""

from collections.abc import Callable
from pathlib import Path

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
    # Drawing needs what comes with an extra, and takes long to import.
    from ...report import write_report

    reproduce(experiment, directory, num_processes=num_processes, on_progress=on_progress)
    return write_report([directory], directory / "report.html")
