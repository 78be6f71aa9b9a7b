"""`unspool.apply_optimizer`: a learned optimizer on a task of one's own, against tuned ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ... import export
from ..._config.errors import noting
from ..._counts import check_count
from ...export.optimizer_class import OptimizerOrClass
from ...problems.learned_optimizer import OptimizerTraining, Task
from ..layout import measurements
from ..optimizer_comparison import OptimizerComparison
from ..runner import Progress
from .apply_experiment import ApplyExperiment
from .page import run_with_page


@dataclass(frozen=True)
class Applied:
    """A learned optimizer beside tuned ones, on the same task.

    - `comparison`: the losses of all runs: `learned`, seeds by points, and `grids` of the others.
    - `verdict`: who ends lower, in sentences.
    - `page`: the page of figures.
    """

    comparison: OptimizerComparison
    verdict: str
    page: Path


def apply_optimizer(
    file: str | Path,
    task: Task | OptimizerTraining,
    *,
    directory: str | Path,
    optimizer: OptimizerOrClass | None = None,
    num_steps: int = 1000,
    seeds: int = 5,
    label: str = "a task",
    on_progress: Callable[[Progress], None] | None = None,
) -> Applied:
    """Trains a model with a learned optimizer, and with Adam and SGD tuned on the very task.

    What is finished in the directory is kept, so that a second call goes on.

    **Arguments:**

    - `file`: what `unspool.export.save_optimizer` or `unspool export` wrote.
    - `task`: a model and its data, or a meta-training, whose task is taken.
    - `directory`: where measurements and the page `report.html` are written.
    - `optimizer`: the class that the file was saved of, if it is not the library's own.
    - `num_steps`: steps of a training run.
    - `seeds`: training runs of each optimizer that are shown.
    - `label`: what the page calls the task.
    - `on_progress`: called with every `unspool.experiments.Progress`.

    **Raises:** `ValueError` for a number out of range or a file of something else,
    `FileNotFoundError` if there is none, and `RunError` if the directory holds something else.

    **Example:**

    >>> from unspool import export
    >>> from unspool.problems.learned_optimizer import LearnedSGD, Task
    >>> from unspool.problems.schedules import Data, Model
    >>> learned = LearnedSGD(learning_rate=0.1)
    >>> params = learned.init_params(key=jax.random.key(0))
    >>> export.save_optimizer(learned, params, "learned.safetensors")
    >>> model = Model(lambda key: jnp.ones(()), lambda weights, x: jnp.mean((weights - x) ** 2))
    >>> task = Task(model, Data(jnp.zeros(4), batch_size=2))
    >>> applied = unspool.apply_optimizer(
    ...     "learned.safetensors", task, directory="runs/applied", num_steps=5, seeds=2
    ... )
    >>> applied.comparison.learned.shape
    (2, 6)
    """
    check_count(num_steps=num_steps, seeds=seeds)
    with noting("in the optimizer's file"):
        learned = export.read_optimizer(file, optimizer=optimizer)
    experiment = ApplyExperiment(
        learned=learned, file=Path(file), label=label, num_steps=num_steps, seeds=seeds,
        task=task.task if isinstance(task, OptimizerTraining) else task,
    )  # fmt: skip
    with noting("in the task"):
        experiment.try_out()
    directory = Path(directory)
    page = run_with_page(experiment, directory, on_progress=on_progress)
    comparison = experiment.compare(measurements(experiment, directory))
    return Applied(comparison, comparison.summary(), page)
