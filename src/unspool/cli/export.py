"""`unspool export`: the learned optimizer of a meta-training as one file."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import export as _export
from .._checkpoint import load_checkpoint
from .._config.build import Training
from .._config.options import Option
from .._custom_types import Params
from .._describe import describe
from .._engine import LocalEngine
from .._joint import JointProblem
from .._make_step import find_state_shape
from .._params import split
from .._random import Purpose, stream
from .._run import Run
from ..export.optimizer_class import class_name
from ..export.optimizer_file import unfreeze
from ..problems.learned_optimizer import OptimizerTraining
from ..problems.schedules import ModelTraining
from .errors import UsageError, as_usage_errors
from .options import parse
from .run_config import rebuild

_ABOUT = """\
Writes the learned optimizer of a meta-training into one file: unspool export RUN [options]

RUN is the directory of an `unspool train` whose problem is an instance of
unspool.problems.learned_optimizer.OptimizerTraining, or a JointProblem of several. The file is read
by unspool.export.load_optimizer, which makes an optax optimizer of it, and by `unspool apply`."""


OPTIONS = [
    Option("file", str | None, None, "where to write", "RUN/optimizer.safetensors"),
    Option("update", int | None, None, "the update whose checkpoint to take", "the newest"),
]


def export(argv: Sequence[str]) -> int:
    """Writes the file, and prints its path and what to do with it."""
    if not argv or argv[0].startswith("-"):
        parse(argv, prog="unspool export RUN", description=_ABOUT, file=OPTIONS)
        raise UsageError("name the run first: unspool export RUN")
    directory, *rest = argv
    prog = f"unspool export {directory}"
    given = parse(rest, prog=prog, description=_ABOUT, file=OPTIONS)["file"]
    run = Run.open(Path(directory))
    if "settings" not in run.config and "command" not in run.config:
        raise UsageError(
            f"the run in {directory} was not begun by `unspool train`, whose runs alone can be "
            "exported: use unspool.export.save_optimizer in Python"
        )
    with jax.enable_x64(bool(run.config["float64"])):
        training = rebuild(run)
        config = training.config
        problem = _meta_training(training, run)
        update = _choose(run, given["update"])
        params = _params_at(training, run, update)
        file = Path(given["file"] or run.directory / "optimizer.safetensors")
        notes = {
            "trained_by": f"{config.estimator.name} on {config.problem.name}",
            "update": update,
            "horizon": problem.horizon,
        }
        with as_usage_errors("while writing the file"):
            _export.save_optimizer(problem.optimizer, params, file, notes=notes)
            name = class_name(type(unfreeze(problem.optimizer, params)[0]))
    own = name.rpartition(":")[2] if ":" in name else None
    print(file)
    print(
        f"in Python: unspool.export.load_optimizer({str(file)!r}"
        + (f", optimizer={own})" if own else ")")
        + f", for optax; to try it: unspool apply {shlex.quote(str(file))} FILE.py:TASK"
        + (f" --optimizer FILE.py:{own}" if own else ""),
        flush=True,
    )
    return 0


def _meta_training(training: Training, run: Run) -> OptimizerTraining:
    """The run's problem, if it is of this kind and still what it was."""
    problem = training.problem
    if isinstance(problem, JointProblem) and isinstance(problem.engines[0], LocalEngine):
        problem = problem.engines[0].problem
    if isinstance(problem, ModelTraining):
        raise UsageError(
            f"the run in {run.directory} tunes hyperparameters, and learns no optimizer: use "
            "unspool.export.save in Python, or `unspool tune`, which writes tuned.json"
        )
    if not isinstance(problem, OptimizerTraining):
        raise UsageError(
            f"the run in {run.directory} is of {type(problem).__name__}: only that of an "
            "OptimizerTraining has an optimizer to export"
        )
    now: dict[str, Any] = json.loads(json.dumps(describe(training.problem)))
    if now != run.config["problem"]:
        raise UsageError(
            f"the run in {run.directory} is of another problem: it was {run.config['problem']}, "
            f"and is {now} now"
        )
    return problem


def _choose(run: Run, update: int | None) -> int:
    known = run.checkpoints
    if not known:
        raise UsageError(f"the run in {run.directory} has no checkpoint yet")
    if update is not None and update not in known:
        there = ", ".join(map(str, known))
        raise UsageError(
            f"--update must be one of the checkpoints in {run.directory}, {there}, got {update}"
        )
    return known[-1] if update is None else update


def _params_at(training: Training, run: Run, update: int) -> Params:
    """The parameters in a checkpoint."""
    with as_usage_errors("in the problem"):
        start = training.joint.init_params(key=stream(training.key, Purpose.PARAMS))
        like = find_state_shape(training.joint, training.chunked, training.optimizer, start)
    state = load_checkpoint(run.directory / "checkpoints" / f"{update}.npz", like)
    params = state.recommended
    trained, _ = split(params)
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained)):
        raise UsageError(
            f"the parameters at update {update} in {run.directory} are not finite: name an earlier "
            f"one with --update, of {', '.join(map(str, run.checkpoints))}"
        )
    return params
