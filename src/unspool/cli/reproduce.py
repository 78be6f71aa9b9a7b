"""`unspool reproduce`: an experiment from the literature, all its runs and its report."""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._config import names
from .._config.docs import summary
from .._config.load_object import load_object
from .._config.options import Option, find_options
from ..experiments.base import AbstractExperiment
from ..experiments.runner import ExperimentError, Progress
from ..experiments.runner import reproduce as run_all
from . import choices
from .errors import RunFailure, UsageError, as_usage_errors
from .options import parse
from .progress import Show, show_progress
from .report import write_page

_ABOUT = """\
Reproduces an experiment from the literature, and writes its report. What is finished in its
directory is kept, so that a second call goes on.

{}"""


def reproduce(argv: Sequence[str]) -> int:
    """Runs what is not finished yet, writes the page, and prints its path."""
    known = choices.experiments()
    if not argv or argv[0].startswith("-"):
        listed = "\n".join(f"  {name:<20}{summary(cls)}" for name, cls in known.items())
        parse(argv, prog="unspool reproduce NAME", description=_ABOUT.format(listed))
        raise UsageError(f"name an experiment first: {', '.join(known)}")
    name, *rest = argv
    is_own = ":" in name
    make = _load_own(name) if is_own else names.choose("experiment", name, known)
    options = find_options(make)
    folder, processes = f"runs/{make.name}", "runs at a time"
    further = [
        Option("directory", str, folder, "where runs are written; finished ones are kept"),
        # Another process would not find the module of a file.
        Option("num_processes", int, 1, processes)
        if is_own
        else Option("num_processes", int | None, None, processes, "as many as there are cores"),
    ]
    if hasattr(make, "at_paper_size"):
        text = "the published size, where the defaults are smaller; other options still hold"
        further.append(Option("paper", bool, False, text))
    settings: dict[str, Any] = {"prog": f"unspool reproduce {name}", "description": summary(make)}
    given = parse(rest, **settings, experiment=options, further=further)
    if given["further"].get("paper"):
        full = make.at_paper_size()
        options = [dataclasses.replace(o, default=getattr(full, o.name)) for o in options]
        given = parse(rest, **settings, experiment=options, further=further)
    if (count := given["further"]["num_processes"]) is not None and count < 1:
        raise UsageError(f"--num-processes must be an integer of at least 1, got {count}")
    with as_usage_errors("in the experiment"):
        experiment = make(**given["experiment"])
        # Errors of its checks are reported before anything is written.
        experiment.entries()
    return run_experiment(experiment, Path(given["further"]["directory"]), num_processes=count)


def _load_own(spec: str) -> Any:
    """The experiment's class of that name in the user's file."""
    with as_usage_errors("in the experiment"):
        found = load_object(spec)
    if not (isinstance(found, type) and issubclass(found, AbstractExperiment)):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise UsageError(
            f"{spec} is {kind}, and must be a subclass of unspool.experiments.AbstractExperiment"
        )
    return found


def run_experiment(
    experiment: AbstractExperiment, directory: Path, *, num_processes: int | None
) -> int:
    """Runs what is not finished, with progress, and writes the page; the exit code."""
    percent = lambda now: 100 * now.done / max(now.total, 1)
    try:
        with contextlib.ExitStack() as stack:
            shows: list[Show] = []

            def show(now: Progress) -> None:
                if not shows:  # What was finished before is known only now.
                    bar = show_progress(100, int(percent(now)), "percent")
                    shows.append(stack.enter_context(bar))
                loss = "" if math.isnan(now.loss) else f", loss {now.loss:.6g}"
                shows[0](percent(now), f"{now.label} seed {now.seed}{loss}")

            run_all(experiment, directory, num_processes=num_processes, on_progress=show)
    except ExperimentError as error:
        raise RunFailure(str(error)) from error
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    page = directory / "report.html"
    write_page([directory], page)
    print(page)
    return 0
