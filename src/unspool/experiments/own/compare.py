"""Comparing estimators on one's own problem."""

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

from ..._config.compare_config import CompareConfig
from ..._config.extras import needing
from ..._counts import check_count
from ..._lock import LockedError, hold_lock
from ..._report.report import report
from ...records import RunError
from ...records.files import write_record
from ...records.study import EXPERIMENT_FILE
from ..runner import ExperimentError, Progress, num_cores, run_stages
from .comparison import Comparison, make_rows
from .describe import describe_comparison
from .plan import writable
from .work import Work

COMPARE_FILE, _LOCK = "compare.toml", "lock"


def compare(
    config: CompareConfig,
    directory: str | Path,
    *,
    num_processes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    allow_changes: bool = False,
) -> Comparison:
    """Trains with several estimators and seeds side by side, and writes a report about them.

    With several learning rates each estimator first gets the one that is best for it, by runs with
    other seeds, which lie in `rates` and are shown in a chart alone.

    Called again, with the same settings or others, it keeps what is done, goes on with what was
    interrupted, to the same bits, trains longer where a limit was raised, and runs what is new.
    Runs whose settings are no longer wanted are moved to `earlier`, and come back if they are
    wanted again. Files of yours that the settings name are imported, which runs what is in them.

    **Arguments:**

    - `config`: the settings, with files relative to the current directory.
    - `directory`: where the comparison is written: `compare.toml`, which are the settings; a run as
      of `train_run` for each label and seed, as `NRES-0`; `experiment.json` and `report.html`.
    - `num_processes`: runs at a time; by default one for each core. With 1 everything runs in this
      process. More are spawned, so that a script has to call this below
      `if __name__ == "__main__"`.
    - `on_progress`: called with every `unspool.experiments.Progress`.
    - `allow_changes`: go on although a file of yours is not what it was when a run began.

    **Returns:** a `Comparison`, which prints as a table.

    **Raises:** `ConfigError` for settings that nothing can be built of, or a file that has changed;
    `RunError` for a directory of something else; `unspool.experiments.ExperimentError` after
    everything else is done if a run failed, with an error other than `TrainingError`.

    **Example:**

    >>> config = unspool.CompareConfig(
    ...     problem=unspool.Spec("cubic"),
    ...     estimators={"NRES": unspool.Spec("nres"), "BPTT": unspool.Spec("bptt")},
    ...     seeds=2,
    ...     num_updates=20,
    ... )
    >>> comparison = unspool.compare(config, "cubic", num_processes=1)
    >>> len(comparison.rows["NRES"].losses), comparison.page.name
    (2, 'report.html')
    """
    with needing("a comparison"):
        importlib.import_module("unspool._report.page")
    directory, start = Path(directory), Path.cwd()
    check_count(num_processes=num_processes)
    _check_directory(directory)
    with jax.enable_x64(config.float64):
        work = Work(config, directory, start, num_processes or num_cores(), allow_changes)
        settings = writable(config, start)
    with _holding(directory):
        # What is refused is refused before anything is written.
        stages = work.stages()
        stages = itertools.chain([next(stages)], stages)
        settings.write(directory / COMPARE_FILE)
        outcome = run_stages(stages, work.cost, num_processes, on_progress)
        if outcome.failures:
            failed = "; ".join(outcome.failures)
            raise ExperimentError(f"in {directory} failed: {failed}; what is done is kept")
        rows = make_rows(work.shown)
        found = describe_comparison(config, work.shown, rows, work.choices, work.charts)
        write_record(directory / EXPERIMENT_FILE, found)
        page = report(directory, directory / "report.html")
    return Comparison(rows, page, tuple(work.moved))


def resume_comparison(
    directory: str | Path,
    *,
    num_processes: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    allow_changes: bool = False,
) -> Comparison:
    """Goes on with a comparison as its `compare.toml` says, which may have been edited.

    **Arguments, returns** and **raises** as `compare`.

    **Example**, after that of `compare`:

    >>> settings = unspool.CompareConfig.read("cubic/compare.toml")
    >>> settings == config
    True
    >>> again = unspool.resume_comparison("cubic", num_processes=1)
    >>> again.rows == comparison.rows
    True
    """
    file = Path(directory) / COMPARE_FILE
    if not file.exists():
        raise RunError(f"there is no comparison in {directory}: {COMPARE_FILE} is missing")
    return compare(
        CompareConfig.read(file), directory,
        num_processes=num_processes, on_progress=on_progress, allow_changes=allow_changes,
    )  # fmt: skip


@contextlib.contextmanager
def _holding(directory: Path) -> Iterator[None]:
    """Keeps other comparisons out of a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with hold_lock(directory / _LOCK):
            yield
    except LockedError:
        raise RunError(
            f"the comparison in {directory} is at work at this moment: wait for its end, or name "
            "another directory"
        ) from None


def _check_directory(directory: Path) -> None:
    """Raises `RunError` if a directory holds anything but a comparison."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RunError(f"{directory} is a file: name a directory for the comparison")
    names = sorted(path.name for path in directory.iterdir() if path.name != _LOCK)
    if names and COMPARE_FILE not in names:
        raise RunError(
            f"the directory {directory} holds {names[0]} and no {COMPARE_FILE}, so that it is no "
            "comparison: name another directory, or an empty one"
        )
