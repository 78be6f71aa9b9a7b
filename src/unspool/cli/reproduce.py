"""`unspool reproduce`: an experiment from the literature, all its runs and its report."""

import contextlib
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..experiments.base import AbstractExperiment
from ..experiments.runner import ExperimentError, Progress
from ..experiments.runner import reproduce as run_all
from . import choices
from .docs import summary
from .mistakes import Failure, Mistake, mistakes_of_the_user
from .options import Parser, add_options, collect, find_options
from .progress import Show, show_progress
from .report import write_page


def reproduce(words: Sequence[str]) -> int:
    """Runs what is not finished yet, writes the page, and prints its path."""
    names = choices.experiments()
    if not words or words[0].startswith("-"):
        _help(names).read(words)
        raise Mistake(f"name an experiment first: {', '.join(names)}")
    make = choices.choose("experiment", words[0], names)
    options = find_options(make)
    parser = Parser(
        prog=f"unspool reproduce {words[0]}",
        usage=f"unspool reproduce {words[0]} [options]",
        description=summary(make),
    )
    add_options(parser, f"the experiment {make.__name__}", options)
    group = parser.add_argument_group("where and how")
    group.add_argument(
        "--directory",
        metavar="DIR",
        default=f"runs/{words[0]}",
        help="where the runs are written; those that are finished there are kept "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--num-processes",
        type=int,
        metavar="INT",
        help="runs at a time (default: as many as there are cores)",
    )
    if hasattr(make, "at_paper_size"):
        group.add_argument(
            "--paper-size",
            action="store_true",
            help="the published size, where the defaults are smaller; other options still hold",
        )
    given = parser.read(words[1:])
    if (count := given["num_processes"]) is not None and count < 1:
        raise Mistake(f"--num-processes must be an integer of at least 1, got {count}")
    with mistakes_of_the_user("in the experiment"):
        experiment = make(**collect(options, given))
        if given.get("paper_size"):
            chosen = {o.name: getattr(experiment, o.name) for o in options if o.name in given}
            experiment = dataclasses.replace(make.at_paper_size(), **chosen)
        # What its checks complain of is to be said before anything is written.
        experiment.entries()
        assert experiment.seed_values
    return _run(experiment, Path(given["directory"]), count)


def _help(names: Mapping[str, type]) -> Parser:
    listed = "\n".join(f"  {name:<20}{summary(cls)}" for name, cls in names.items())
    return Parser(
        prog="unspool reproduce",
        usage="unspool reproduce NAME [options]\n       unspool reproduce NAME --help",
        description="Reproduces an experiment from the literature, and writes its report. What "
        f"is\nfinished in its directory is kept, so that a second call goes on.\n\n{listed}",
    )


def _run(experiment: AbstractExperiment, directory: Path, num_processes: int | None) -> int:
    percent = lambda now: 100 * now.done / max(now.total, 1)
    try:
        with contextlib.ExitStack() as stack:
            shows: list[Show] = []

            def show(now: Progress) -> None:
                if not shows:  # What was finished before is known only now.
                    bar = show_progress(100, int(percent(now)), "percent")
                    shows.append(stack.enter_context(bar))
                shows[0](percent(now), f"{now.label} seed {now.seed}, loss {now.loss:.6g}")

            run_all(experiment, directory, num_processes=num_processes, on_progress=show)
    except ExperimentError as error:
        raise Failure(str(error)) from error
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    page = directory / "report.html"
    write_page([directory], page)
    print(page)
    return 0
