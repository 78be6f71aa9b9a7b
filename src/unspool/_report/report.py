"""`unspool.report`: runs and experiments as one page."""

from collections.abc import Sequence
from pathlib import Path

from ..records import RunError, read_studies


def report(
    directories: str | Path | Sequence[str | Path], output: str | Path = "report.html"
) -> Path:
    """Writes one self-contained HTML page about runs and experiments, and returns its path.

    Each directory is a run or holds runs. One with an `experiment.json` becomes a part of the
    page of its own; all other runs are compared with one another.

    **Arguments:**

    - `directories`: one or several.
    - `output`: the page, or a directory for its `report.html`.

    **Raises:** `RunError` for anything missing or malformed, and if the page cannot be written.

    **Example**, after that of `unspool.experiments.reproduce`:

    >>> page = unspool.report("runs/small", "small.html")
    >>> "A small experiment" in page.read_text()
    True
    """
    # Drawing needs what comes with an extra, and takes long to import.
    from .page import render_page

    several = [directories] if isinstance(directories, (str, Path)) else directories
    page = render_page(read_studies([Path(directory) for directory in several]))
    path = Path(output)
    path = path / "report.html" if path.is_dir() else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}).") from None
    return path
