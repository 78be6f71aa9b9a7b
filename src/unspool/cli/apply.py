"""`unspool apply`: a learned optimizer on a task of one's own, against tuned ones."""

from collections.abc import Sequence
from pathlib import Path

from .._config.options import Option
from ..records import Experiment
from ..records.files import read_record
from ..records.study import EXPERIMENT_FILE
from .apply_experiment import ApplyExperiment, fingerprint, load_learned, load_task
from .errors import UsageError, as_usage_errors
from .options import parse
from .reproduce import run_experiment

_ABOUT = """\
Trains a model of yours with a learned optimizer, and with Adam and SGD, whose learning rates are
tuned on the very task: unspool apply FILE TASK.py:NAME [options]

FILE is what `unspool export` or unspool.export.save_optimizer wrote. NAME is an instance of
unspool.problems.learned_optimizer.Task, a model and its data, or of OptimizerTraining, whose task
is taken. What is finished in the directory is kept, so that a second call goes on. It ends with a
page of figures, report.html, and with a verdict."""
_USAGE = "name a file and a task first: unspool apply optimizer.safetensors FILE.py:TASK"


def apply(argv: Sequence[str]) -> int:
    """Trains, writes the page, and prints who ends lower."""
    if len(argv) < 2 or argv[0].startswith("-") or argv[1].startswith("-"):
        if {"--help", "-h"} & set(argv):
            run = apply_options("")
            parse(["--help"], prog="unspool apply FILE TASK", description=_ABOUT, run=run)
        raise UsageError(_USAGE)
    file, spec, *rest = argv
    name = f"{Path(file).stem}-{spec.rpartition(':')[2]}"
    prog = f"unspool apply {file} {spec}"
    options = parse(rest, prog=prog, description=_ABOUT, run=apply_options(name))["run"]
    for key in ("num_steps", "seeds"):
        if options[key] < 1:
            flag = f"--{key.replace('_', '-')}"
            raise UsageError(f"{flag} must be an integer of at least 1, got {options[key]}")
    directory, start = Path(options.pop("directory")), Path.cwd()
    with as_usage_errors("in the optimizer's file"):
        load_learned(file, options["optimizer"], start)
    load_task(spec, start)
    contents = fingerprint(file, spec, start)
    experiment = ApplyExperiment(
        file=file, task=spec, start=str(start), contents=contents, **options
    )
    with as_usage_errors("in the task"):
        experiment.try_out()
    code = run_experiment(experiment, directory, num_processes=1)
    if code == 0:
        chart, *_ = read_record(directory / EXPERIMENT_FILE, Experiment).charts
        print(chart.note, flush=True)
    return code


def apply_options(name: str) -> list[Option]:
    """The options of a comparison of that name."""
    own = "a class of yours that the file was saved of, FILE.py:CLASS"
    return [
        Option("num_steps", int, 1000, "steps of a training run, at least 1"),
        Option("seeds", int, 5, "training runs of each optimizer that are shown, at least 1"),
        Option("optimizer", str | None, None, own, "the library's own"),
        Option("directory", str, f"runs/apply-{name or 'FILE-NAME'}", "where all is written"),
    ]
