"""`unspool train`: one run in a directory, begun, watched, stopped and gone on with."""

import contextlib
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checkpoint import save_checkpoint
from .._custom_types import Params
from .._evaluate import evaluate
from .._run import Run
from .._train import Record
from . import choices
from .job import Job, build_job, training_options, wants_float64
from .mistakes import Failure, Mistake, describe_error
from .options import Parser, add_options, show
from .progress import show_progress

_USAGE = """\
unspool train PROBLEM ESTIMATOR [options]
       unspool train PROBLEM ESTIMATOR --help
       unspool train --resume DIRECTORY [--num-updates N]"""

_ABOUT = """\
Trains the parameters of a problem, and writes the run into a directory.

PROBLEM is one of the library's, or your own: file.py:Class, file.py:instance or
package.module:Class. With it and an estimator, --help lists the options of both.

  problems    {problems}
  estimators  {estimators}
  optimizers  {optimizers}

Ctrl-C ends a run at its next record; --resume goes on with it, to the same bits."""


def train(words: Sequence[str]) -> int:
    """Begins or resumes a run, and returns the exit code."""
    if not words or words[0] in ("-h", "--help"):
        _print_help()
        return 0
    if words[0].partition("=")[0] == "--resume":
        return _resume(words)
    if len(words) < 2 or words[0].startswith("-") or words[1].startswith("-"):
        _print_help_if_asked(words)
        raise Mistake("name the problem and the estimator first: unspool train PROBLEM ESTIMATOR")
    with jax.enable_x64(True) if wants_float64(words) else contextlib.nullcontext():
        job = build_job(words, Path.cwd())
        params = job.try_out()
        directory = _make_directory(job)
        build_again = {
            "command": job.words,
            "from": os.path.relpath(Path.cwd(), directory),
        }
        run = Run.create(directory, job.config(params) | build_again)
        _announce(run)
        return _go(job, run, params)


def _resume(words: Sequence[str]) -> int:
    parser = Parser(prog="unspool train", usage=_USAGE)
    parser.add_argument("--resume", metavar="DIRECTORY", help="the run to go on with")
    parser.add_argument("--num-updates", type=int, metavar="INT", help="updates to make in all")
    given = parser.read(words)
    directory = Path(given["resume"])
    run = Run.open(directory)
    if "command" not in run.config:
        raise Mistake(f"the run in {directory} was not begun by `unspool train`")
    words = list(run.config["command"])
    if given["num_updates"] is not None:
        words.append(f"--num-updates={given['num_updates']}")
    with jax.enable_x64(bool(run.config["float64"])):
        job = build_job(words, (directory / run.config["from"]).resolve())
        params = job.try_out()
        config = job.config(params)
        _check_same(run, config)
        total, lines = job.settings.num_updates, run.read("metrics")
        made = max(run.checkpoints, default=0)
        if lines and made >= total:
            raise Mistake(
                f"the run in {directory} has made its {made} updates: "
                f"to go on, ask for more than {made} with --num-updates"
            )
        if total != run.config["num_updates"]:
            run = Run(directory, run.config | {"num_updates": total, "command": job.words})
            _rewrite(directory / "config.json", run.config)
        print(f"going on with {directory} from update {made}", flush=True)
        return _go(job, run, params)


def _go(job: Job, run: Run, params: Params) -> int:
    """Trains to the end, or until a signal; the exit code."""
    settings = job.settings
    total = settings.num_updates
    records = run.train(
        job.engine, job.estimator, job.optimizer,
        num_updates=total, key=job.key, params=params,
        log_every=settings.log_every, checkpoint_every=settings.checkpoint_every,
    )  # fmt: skip
    record, made = None, max(run.checkpoints, default=0)
    try:
        with _signals() as caught, show_progress(total, made, "updates") as show_update:
            _evaluate_if_due(job, run, 0, params)
            for record in records:
                _evaluate_if_due(job, run, record.update, record.params)
                show_update(record.update, f"loss {record.loss:.6g}")
                if caught() and record.update < total:
                    # The state is gone once another record is asked for.
                    file = run.directory / "checkpoints" / f"{record.update}.npz"
                    save_checkpoint(file, record.state)
                    return _stopped(run, record.update, caught())
    except KeyboardInterrupt:
        return _stopped(run, max(run.checkpoints, default=0), signal.SIGINT)
    except Exception as error:
        if os.environ.get("UNSPOOL_TRACEBACK"):
            raise
        message = describe_error(error, "while training")
        with contextlib.suppress(OSError):
            run.finish("failed", message)
        raise Failure(f"{message} The run is in {run.directory}.") from error
    finally:
        records.close()
    if record is not None:
        _conclude(run, record)
    return 0


def _evaluate_if_due(job: Job, run: Run, update: int, params: Params) -> None:
    settings, lines = job.settings, run.read("evaluation")
    last = lines[-1]["update"] if lines else None
    every = settings.evaluate_every or settings.num_updates
    due = last is None or update == settings.num_updates or update - last >= every
    if settings.num_episodes == 0 or not due or last == update:
        return
    params = jax.tree.map(jnp.asarray, params)
    found = evaluate(job.engine, params, key=job.key, num_episodes=settings.num_episodes)
    line = {name: float(value) for name, value in found._asdict().items()}
    run.append("evaluation", {"update": update} | line | {"num_episodes": found.num_episodes})


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], int | None]]:
    """Notes the first signal to stop, so that the record in hand is finished; obeys the second."""
    caught: list[int] = []

    def note(number, frame):
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        print("stopping at the next record; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(run: Run, update: int, number: int | None) -> int:
    run.finish("stopped", f"stopped by hand after update {update}")
    print(f"stopped after update {update}; to go on:")
    print(f"  unspool train --resume {shlex.quote(str(run.directory))}", flush=True)
    return 128 + (number or signal.SIGINT)


def _make_directory(job: Job) -> Path:
    """The directory that was asked for, or a new one under `runs`."""
    if job.settings.directory is not None:
        directory = Path(job.settings.directory)
        if (directory / "config.json").exists():
            raise Mistake(
                f"{directory} already holds a run: go on with it by `unspool train --resume "
                f"{shlex.quote(str(directory))}`, or name another --directory"
            )
        return directory
    number = 1
    while True:
        directory = Path("runs") / (job.name + (f"-{number}" if number > 1 else ""))
        try:
            directory.mkdir(parents=True)
            return directory
        except FileExistsError:
            number += 1
        except OSError as error:
            raise Mistake(
                f"cannot write the run directory {directory}: {error.strerror}; name another "
                "with --directory"
            ) from error


def _check_same(run: Run, config: dict[str, Any]) -> None:
    """The run's settings, against those that its own words give now."""
    config = json.loads(json.dumps(config))
    for part in ("problem", "estimator", "num_params"):
        if (now := config[part]) != (then := run.config[part]):
            if isinstance(now, dict) and isinstance(then, dict) and now["name"] == then["name"]:
                options = {**then["options"], **now["options"]}
                names = [n for n in options if then["options"].get(n) != now["options"].get(n)]
                part = f"{part}'s {names[0]}" if names else part
                if names:
                    then, now = then["options"].get(names[0]), now["options"].get(names[0])
            raise Mistake(
                f"the run in {run.directory} is of another experiment: its {part} was {then}, "
                f"and is {now} now"
            )


def _rewrite(path: Path, config: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(config, indent=1) + "\n")
    os.replace(partial, path)


def _announce(run: Run) -> None:
    """The settings in force."""
    for part in ("problem", "estimator", "optimizer"):
        options = run.config[part]["options"].items()
        listed = ", ".join(f"{name} {show(value)}" for name, value in options)
        print(f"{part:<10}{run.config[part]['name']}: {listed}")
    precision = "float64" if run.config["float64"] else "float32"
    print(
        f"{'training':<10}{run.config['num_updates']} updates of {run.config['num_params']} "
        f"parameters in {precision}, seed {run.config['seed']}"
    )
    print(f"{'directory':<10}{run.directory}", flush=True)


def _conclude(run: Run, record: Record) -> None:
    """What came out, and where to look."""
    print(f"{'loss':<10}{record.loss:.6g} in training, update {record.update}")
    if lines := run.read("evaluation"):
        first, last = lines[0], lines[-1]
        error = f" +- {last['standard_error']:.2g}" if last["standard_error"] else ""
        at_start = f", {first['loss']:.6g} at the start" if first["loss"] is not None else ""
        if last["loss"] is not None:
            print(
                f"{'evaluated':<10}{last['loss']:.6g}{error} on {last['num_episodes']} "
                f"fresh episodes{at_start}"
            )
    names, values = run.config["parameter_names"], jax.tree.leaves(record.params)
    if names is not None:
        flat = np.concatenate([np.ravel(value) for value in values])
        pairs = (f"{name} {value:.6g}" for name, value in zip(names, flat, strict=True))
        print(f"{'params':<10}{', '.join(pairs)}")
    print(f"{'run':<10}{run.directory}")
    print(f"{'next':<10}unspool report {shlex.quote(str(run.directory))}", flush=True)


def _print_help_if_asked(words: Sequence[str]) -> None:
    if "--help" in words or "-h" in words:
        _print_help()
        raise SystemExit(0)


def _print_help() -> None:
    listed = {
        "problems": ", ".join(choices.problems()),
        "estimators": ", ".join(choices.estimators()),
        "optimizers": ", ".join(choices.optimizers()),
    }
    parser = Parser(prog="unspool train", usage=_USAGE, description=_ABOUT.format(**listed))
    parser.add_argument("--resume", metavar="DIRECTORY", help="go on with a stopped run")
    add_options(parser, "training", training_options())
    parser.print_help()
