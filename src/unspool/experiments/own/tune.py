"""`unspool.tune`: the hyperparameters of one's own training run, from parts of such runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ... import export
from ..._config.describe_run import name_entries
from ..._config.errors import ConfigError, noting
from ..._config.train_config import check_positive
from ..._counts import check_count
from ..._custom_types import Params
from ..._engine import as_engine
from ..._estimator import AbstractEstimator
from ..._estimator.nres import NRES
from ..._lines import MOST_PARAMS_LOGGED
from ..._logger import AbstractLogger
from ..._random import seeded_key
from ..._run import Run
from ...problems.schedules import ModelTraining
from ...records.files import as_array
from ..layout import run_directory
from ..runner import ExperimentError, Progress
from ..traces import read_traces
from .page import run_with_page
from .tune_experiment import TuneExperiment


@dataclass(frozen=True)
class Tuned:
    """The hyperparameters that a tuning began with and those that it came to.

    - `start`, `params`: parameters of the problem before and after, of the first seed.
    - `values`: for each hyperparameter its value before and after, in natural units.
    - `objective`: the objective before and after, NaN where it is not finite.
    - `dropped`: workers whose training runs diverged, which were left out of the estimates.
    - `file`: `tuned.json`, which `unspool.export` reads.
    - `page`: the page of figures.
    """

    start: Params
    params: Params
    values: Mapping[str, tuple[float, float]]
    objective: tuple[float, float]
    dropped: int
    file: Path
    page: Path


def tune(
    problem: ModelTraining,
    estimator: AbstractEstimator | None = None,
    *,
    directory: str | Path,
    num_updates: int = 300,
    learning_rate: float = 0.02,
    seeds: int = 1,
    num_runs: int = 5,
    label: str = "a training run",
    on_progress: Callable[[Progress], None] | None = None,
    loggers: Sequence[AbstractLogger] = (),
) -> Tuned:
    """Tunes the hyperparameters of a training run by Adam, from parts of such runs.

    What is finished in the directory is kept, so that a second call goes on.

    **Arguments:**

    - `problem`: the training run.
    - `estimator`: by default NRES of 20 workers with a window of a tenth of the run.
    - `directory`: where the runs, the page `report.html` and the file `tuned.json` are written.
    - `num_updates`, `learning_rate`: of Adam, in the unconstrained coordinates.
    - `seeds`: tunings from different seeds.
    - `num_runs`: fresh training runs that before and after are compared with.
    - `label`: what the page calls the problem.
    - `on_progress`: called with every `unspool.experiments.Progress`.
    - `loggers`: where the tunings are logged besides, as `unspool.log.TensorBoard()`.

    **Raises:** `ValueError` for a number out of range or a problem of too many hyperparameters;
    `RunError` if the directory holds something else; `unspool.experiments.ExperimentError` if a
    tuning broke down.

    **Example:**

    >>> from unspool.problems.schedules import Constant, Data, Model, ModelTraining
    >>> model = Model(lambda key: jnp.ones(()), lambda weights, x: jnp.mean((weights - x) ** 2))
    >>> data = Data(jnp.zeros(4), batch_size=2)
    >>> space = {"learning_rate": Constant(0.1)}
    >>> problem = ModelTraining(model, data, optax.sgd, space, horizon=10)
    >>> tuned = unspool.tune(problem, directory="runs/tuned", num_updates=20, num_runs=1)
    >>> before, after = tuned.values["learning_rate"]
    >>> after > before
    True
    """
    check_count(num_updates=num_updates, seeds=seeds, num_runs=num_runs)
    check_positive("learning_rate", learning_rate)
    with noting("in the problem"):
        params = problem.init_params(key=seeded_key(0))
        as_engine(problem).check(params)
    if (count := len(name_entries(params))) > MOST_PARAMS_LOGGED:
        raise ConfigError(
            f"{label} has {count} numbers to tune, and what tune draws are {MOST_PARAMS_LOGGED} at "
            "most: use train, or PerTensor for fewer hyperparameters"
        )
    estimator = estimator or NRES(20, max(1, problem.horizon // 10), sigma=0.1)
    experiment = TuneExperiment(
        training=problem, estimator=estimator, label=label, num_updates=num_updates,
        learning_rate=learning_rate, num_runs=num_runs, seeds=seeds, loggers=tuple(loggers),
    )  # fmt: skip
    directory = Path(directory)
    page = run_with_page(experiment, directory, on_progress=on_progress)
    return _conclude(experiment, directory, page)


def _conclude(experiment: TuneExperiment, directory: Path, page: Path) -> Tuned:
    """The outcome of the first seed, whose file is written."""
    problem = experiment.training
    ((label, (first, *_)),) = read_traces(experiment, directory).items()
    run = Run.open(run_directory(directory, label, first.seed))
    status, dropped = run.read_status(), sum(line.dropped for line in run.read_metrics())
    if status.state != "finished":
        left_out = f" {dropped} workers whose training runs diverged were left out." * bool(dropped)
        raise ExperimentError(f"{status.message}{left_out} The page is {page}")
    ends = experiment.ends(first)
    lines = run.read_evaluations()
    before, after = as_array([lines[0].loss, lines[-1].loss]).tolist()
    file = directory / "tuned.json"
    export.save(problem, ends["tuned"], file)
    return Tuned(
        start=ends["untuned"],
        params=ends["tuned"],
        values=_natural_values(problem, ends),
        objective=(before, after),
        dropped=dropped,
        file=file,
        page=page,
    )


def _natural_values(
    problem: ModelTraining, ends: Mapping[str, Params]
) -> dict[str, tuple[float, float]]:
    found: list[Any] = [jax.device_get(problem.natural_units(p)) for p in ends.values()]
    columns = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(n)]).tolist() for n in found]
    return dict(zip(name_entries(found[-1]), zip(*columns, strict=True), strict=True))
