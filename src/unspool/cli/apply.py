"""`unspool apply`: a learned optimizer on a task of one's own, against tuned ones."""

from pathlib import Path
from typing import Annotated

from .._config import names
from ..experiments.own.apply import apply_optimizer
from .errors import as_usage_errors
from .parse import Help
from .show_experiment import show_experiment


def apply(
    file: Annotated[str, Help("a learned optimizer, as unspool export writes it", metavar="FILE")],
    task: Annotated[str, Help("a model and its data, file.py:NAME", metavar="TASK")],
    /,
    *,
    num_steps: Annotated[int, Help("steps of a training run, at least 1")] = 1000,
    seeds: Annotated[int, Help("training runs of each optimizer that are shown")] = 5,
    optimizer: Annotated[
        str | None,
        Help("a class of yours that the file was saved of, FILE.py:CLASS", "the library's own"),
    ] = None,
    directory: Annotated[str | None, Help("where all is written", "runs/apply-FILE-TASK")] = None,
) -> None:
    """Train a model of yours with a learned optimizer, and with Adam and SGD that are tuned on it.

    FILE is what `unspool export` or unspool.export.save_optimizer wrote. TASK is an instance of
    unspool.problems.learned_optimizer.Task, a model and its data, or of OptimizerTraining, whose
    task is taken. What is finished in the directory is kept, so that a second call goes on. It ends
    with a page of figures, report.html, and with a verdict.
    """
    start = Path.cwd()
    folder = directory or f"runs/apply-{Path(file).stem}-{task.rpartition(':')[2]}"
    with as_usage_errors("in the task"):
        found = names.find("task", task, start).thing
        own = names.find("learned optimizer", optimizer, start).thing if optimizer else None
    with show_experiment() as on_progress:
        applied = apply_optimizer(
            file, found, directory=folder, optimizer=own, num_steps=num_steps, seeds=seeds,
            label=task, on_progress=on_progress,
        )  # fmt: skip
    print(applied.page)
    print(applied.verdict, flush=True)
