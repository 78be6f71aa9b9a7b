"""The learned optimizer of a meta-training run as one file."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from .._checkpoint import load_checkpoint
from .._config.build import Training, build_training
from .._config.errors import ConfigError, noting
from .._config.run import run_settings
from .._custom_types import Params
from .._describe import describe
from .._engine import LocalEngine
from .._joint import JointProblem
from .._make_step import find_state_shape
from .._params import split
from .._random import Purpose, stream
from .._run import Run
from ..problems.learned_optimizer import AbstractLearnedOptimizer, OptimizerTraining
from ..problems.schedules import ModelTraining
from .optimizer_file import save_optimizer, unfreeze


class ExportedRun(NamedTuple):
    """The learned optimizer of a run, and where it was written.

    - `file`: the file.
    - `optimizer`, `params`: the optimizer, with none of its parameters frozen.
    - `update`: the update whose checkpoint they are of.
    """

    file: Path
    optimizer: AbstractLearnedOptimizer
    params: Params
    update: int


def save_run(
    run: str | Path | Run,
    file: str | Path | None = None,
    *,
    update: int | Literal["best"] | None = None,
) -> ExportedRun:
    """Writes the learned optimizer of a meta-training into one file.

    A file of yours that the run's settings name is imported, which runs what is in it.

    **Arguments:**

    - `run`: a training of an `OptimizerTraining`, or of a `JointProblem` of several, by `train_run`
      or `unspool train`, or its directory.
    - `file`: where to write; by default `optimizer.safetensors` in the run.
    - `update`: the update whose checkpoint to take, by default the newest; or "best", for the
      parameters of the evaluation with the lowest loss.

    **Raises:** `ConfigError` for a run of anything else, or parameters that are not finite;
    `RunError` if there is none.

    **Example:**

    >>> import pathlib
    >>> from unspool import export
    >>> _ = pathlib.Path("meta.py").write_text('''
    ... import jax.numpy as jnp
    ... from unspool.problems.learned_optimizer import *
    ... from unspool.problems.schedules import Data, Model
    ...
    ... model = Model(lambda key: jnp.ones(()), lambda weights, x: jnp.mean((weights - x) ** 2))
    ... task = Task(model, Data(jnp.zeros(4), jnp.zeros(1), batch_size=2))
    ... training = OptimizerTraining(LearnedSGD(), task, horizon=10)
    ... ''')
    >>> config = unspool.TrainConfig(
    ...     problem=unspool.Spec("meta.py:training"),
    ...     estimator=unspool.Spec("nres", {"num_workers": 2}),
    ...     num_updates=1,
    ... )
    >>> for record in unspool.train_run(config, "runs/meta"):
    ...     pass
    >>> export.save_run("runs/meta").file.name
    'optimizer.safetensors'
    """
    run = run if isinstance(run, Run) else Run.open(run)
    with jax.enable_x64(bool(run.config.get("float64"))):
        training = build_training(*run_settings(run))
        problem = _meta_training(training, run)
        update, params = _params_at(training, run, update)
        file = Path(file or run.directory / "optimizer.safetensors")
        notes = {
            "trained_by": f"{training.config.estimator.name} on {training.config.problem.name}",
            "update": update,
            "horizon": problem.horizon,
        }
        with noting("while writing the file"):
            save_optimizer(problem.optimizer, params, file, notes=notes)
        return ExportedRun(file, *unfreeze(problem.optimizer, params), update)


def _meta_training(training: Training, run: Run) -> OptimizerTraining:
    """The run's problem, if it is of this kind and still what it was."""
    problem = training.problem
    if isinstance(problem, JointProblem) and isinstance(problem.engines[0], LocalEngine):
        problem = problem.engines[0].problem
    if isinstance(problem, ModelTraining):
        raise ConfigError(
            f"the run in {run.directory} tunes hyperparameters, and learns no optimizer: use "
            "unspool.export.save in Python, or `unspool tune`, which writes tuned.json"
        )
    if not isinstance(problem, OptimizerTraining):
        raise ConfigError(
            f"the run in {run.directory} is of {type(problem).__name__}: only that of an "
            "OptimizerTraining has an optimizer to export"
        )
    now: dict[str, Any] = json.loads(json.dumps(describe(training.problem)))
    if now != run.config["problem"]:
        raise ConfigError(
            f"the run in {run.directory} is of another problem: it was {run.config['problem']}, "
            f"and is {now} now"
        )
    return problem


def _choose(run: Run, update: int | None) -> int:
    """The update of a checkpoint, by default the newest."""
    known = run.checkpoints
    if not known:
        raise ConfigError(f"the run in {run.directory} has no checkpoint yet")
    if update is not None and update not in known:
        there = ", ".join(map(str, known))
        raise ConfigError(
            f"update must be one of the checkpoints in {run.directory}, {there}, got {update}"
        )
    return known[-1] if update is None else update


def _params_at(
    training: Training, run: Run, update: int | Literal["best"] | None
) -> tuple[int, Params]:
    """The parameters of a checkpoint or of the best evaluation, and their update."""
    with noting("in the problem"):
        start = training.joint.init_params(key=stream(training.key, Purpose.PARAMS))
        like = find_state_shape(training.joint, training.chunked, training.optimizer, start)
    if update == "best":
        params, best = run.load_best(start), run.best
        assert best is not None
        chosen = best.update
    else:
        chosen = _choose(run, update)
        file = run.directory / "checkpoints" / f"{chosen}.npz"
        params = load_checkpoint(file, like).recommended
    trained, _ = split(params)
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained)):
        raise ConfigError(
            f"the parameters at update {chosen} in {run.directory} are not finite: name an earlier "
            f"update, of {', '.join(map(str, run.checkpoints))}"
        )
    return chosen, params
