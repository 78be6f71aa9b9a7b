"""`unspool tune`: the hyperparameters of one's own training run, from parts of such runs."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from .. import export
from .._config import names as _names
from .._config.build import estimator_options, fill_defaults
from .._config.describe_run import name_entries
from .._config.docs import summary
from .._config.options import Option
from .._engine import as_engine
from .._lines import MOST_PARAMS_LOGGED
from .._random import seeded_key
from .._run import Run
from ..experiments.layout import run_directory
from ..experiments.traces import read_traces
from ..records.files import as_array
from .errors import RunFailure, UsageError, as_usage_errors
from .options import parse
from .reproduce import run_experiment
from .tune_experiment import TuneExperiment, load_training

_ABOUT = """\
Tunes the hyperparameters of a training run of yours from parts of such runs:
unspool tune FILE.py:PROBLEM [ESTIMATOR] [options]

PROBLEM is an instance of unspool.problems.schedules.ModelTraining; ESTIMATOR is nres unless another
is named: {}. What is finished in the directory is kept, so that a second call goes on.
It ends with a page of figures, report.html, and with tuned.json, which unspool.export reads."""
_DEFAULTS = {"num_workers": 20}


def tune(argv: Sequence[str]) -> int:
    """Tunes, writes page and file, and prints the hyperparameters before and after."""
    names = _names.estimators()
    if not argv or argv[0].startswith("-"):
        about = _ABOUT.format(", ".join(names))
        parse(argv, prog="unspool tune PROBLEM", description=about, tuning=tuning_options("NAME"))
        raise UsageError("name the problem first: unspool tune FILE.py:PROBLEM")
    spec, *rest = argv
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "nres"
    make = _names.choose("estimator", name, names)
    problem = load_training(spec, Path.cwd())
    of_estimator = [
        dataclasses.replace(option, default=_DEFAULTS.get(option.name, option.default))
        for option in estimator_options(make)
    ]
    given = parse(
        rest,
        prog=f"unspool tune {spec} {name}",
        description=summary(make),
        estimator=of_estimator,
        tuning=tuning_options(spec.rpartition(":")[2] or Path(spec).stem),
    )
    options, settings = given["estimator"], given["tuning"]
    for key in ("num_updates", "num_runs", "seeds"):
        if settings[key] < 1:
            flag = f"--{key.replace('_', '-')}"
            raise UsageError(f"{flag} must be an integer of at least 1, got {settings[key]}")
    fill_defaults(of_estimator, options, problem.horizon)
    if not (math.isfinite(settings["learning_rate"]) and settings["learning_rate"] > 0):
        rate = settings["learning_rate"]
        raise UsageError(f"--learning-rate must be a finite number above 0, got {rate}")
    directory = Path(settings.pop("directory"))
    with as_usage_errors("in the problem"):
        params = problem.init_params(key=seeded_key(0))
        as_engine(problem).check(params)
    if (count := len(name_entries(params))) > MOST_PARAMS_LOGGED:
        raise UsageError(
            f"{spec} has {count} numbers to tune, and what tune draws are {MOST_PARAMS_LOGGED} at "
            "most: use unspool train, or PerTensor for fewer hyperparameters"
        )
    with as_usage_errors("in the estimator"):
        experiment = TuneExperiment(spec, str(Path.cwd()), name, options, **settings)
        experiment.entries()
    code = run_experiment(experiment, directory, num_processes=1)
    if code == 0:
        _conclude(experiment, directory)
    return code


def tuning_options(name: str) -> list[Option]:
    """The options of every tuning, of a problem of that name."""
    return [
        Option("num_updates", int, 300, "updates to make, at least 1"),
        Option("learning_rate", float, 0.02, "Adam's, in the unconstrained coordinates"),
        Option("seeds", int, 1, "tunings from different seeds"),
        Option("num_runs", int, 5, "fresh training runs to compare before and after with"),
        Option("directory", str, f"runs/tune-{name}", "where runs are written"),
    ]


def _conclude(experiment: TuneExperiment, directory: Path) -> None:
    """The hyperparameters before and after, the file, and what it is worth."""
    problem = experiment.training
    ((label, (first, *_)),) = read_traces(experiment, directory).items()
    ends = experiment.ends(first)
    values = {k: jax.device_get(problem.natural_units(params)) for k, params in ends.items()}
    names = name_entries(values["tuned"])
    width = max(map(len, [*names, "objective"])) + 2
    print(f"{'':<{width}}{'untuned':>12}{'tuned':>12}")
    columns = [np.concatenate([np.ravel(x) for x in jax.tree.leaves(n)]) for n in values.values()]
    for name, before, after in zip(names, *columns, strict=True):
        print(f"{name:<{width}}{before:>12.5g}{after:>12.5g}")
    run = Run.open(run_directory(directory, label, first.seed))
    lines = run.read_evaluations()
    objectives = as_array([lines[0].loss, lines[-1].loss])
    print(f"{'objective':<{width}}{objectives[0]:>12.5g}{objectives[1]:>12.5g}")
    dropped = sum(line.dropped for line in run.read_metrics())
    if dropped:
        print(f"{dropped} workers whose training runs diverged were left out of the estimates")
    status = run.read_status()
    if status.state != "finished":
        raise RunFailure(f"{status.message} The page is {directory / 'report.html'}")
    file = directory / "tuned.json"
    export.save(problem, ends["tuned"], file)
    print(file, flush=True)
