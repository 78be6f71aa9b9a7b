"""`unspool reproduce`: an experiment from the literature, all its runs and its report."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._config import names
from .._config.docs import summary
from .._config.load_object import load_object
from .._config.options import Option, find_options
from .._counts import check_count
from .._report.report import report
from ..experiments import known as _known
from ..experiments.base import AbstractExperiment
from ..experiments.own.page import run_with_page
from .errors import UsageError, as_flags, as_usage_errors
from .parse import Group, parse
from .show_experiment import show_experiment

_ABOUT = """\
Reproduce an experiment from the literature, and write its report. What is finished in its
directory is kept, so that a second call goes on.

{}"""
_PROG = "unspool reproduce"


def reproduce(argv: Sequence[str]) -> int:
    """Runs what is not finished yet, writes the page, and prints its path."""
    known = _known.experiments()
    if not argv or argv[0].startswith("-"):
        width = max(map(len, known)) + 2
        listed = "\n".join(f"  {name:<{width}}{summary(cls)}" for name, cls in known.items())
        parse([], argv, f"{_PROG} NAME", description=_ABOUT.format(listed))
        raise UsageError(f"name an experiment first: {', '.join(known)}")
    name, *rest = argv
    family = {each: cls for each, cls in known.items() if each.startswith(f"{name}-")}
    if name not in known and len(family) > 1:
        return _reproduce_all(name, family, rest)
    make = _load_own(name) if ":" in name else names.choose("experiment", name, known)
    own = _own_options(make)
    of_experiment = find_options(make)
    given = _parse(name, make, rest, own, of_experiment)
    if given.get("paper"):
        full = make.at_paper_size()
        of_experiment = [
            dataclasses.replace(option, default=getattr(full, option.name))
            for option in of_experiment
        ]
        given = _parse(name, make, rest, own, of_experiment)
    flags = [option.name for option in own]
    with as_flags(flags), as_usage_errors("in the experiment"):
        check_count(num_processes=given["num_processes"])
        experiment = make(**given["experiment"])
        # Errors of its checks are reported before anything is written.
        experiment.entries()
    with show_experiment() as on_progress:
        page = run_with_page(
            experiment, Path(given["directory"]), num_processes=given["num_processes"],
            on_progress=on_progress,
        )  # fmt: skip
    print(page)
    return 0


def _reproduce_all(name: str, family: dict[str, Any], argv: Sequence[str]) -> int:
    """Runs all experiments whose names begin alike, and writes one page about them."""
    options = _common_options(name)
    given = parse(options, argv, f"{_PROG} {name}", description=f"All of {', '.join(family)}.")
    with as_flags([option.name for option in options]), as_usage_errors("in the experiment"):
        check_count(num_processes=given["num_processes"])
    directory = Path(given["directory"])
    places = {each: directory / each.removeprefix(f"{name}-") for each in family}
    for each, make in family.items():
        with show_experiment() as on_progress:
            run_with_page(
                make(), places[each], num_processes=given["num_processes"], on_progress=on_progress
            )
    print(report(list(places.values()), directory / "report.html"))
    return 0


def _common_options(name: str) -> list[Option]:
    return [
        Option("directory", str, f"runs/{name}", "where runs are written; finished are kept"),
        Option("num_processes", int | None, None, "runs at a time", "as many as there are cores"),
    ]


def _own_options(make: Any) -> list[Option]:
    """The options of any experiment."""
    options = _common_options(make.name)
    if hasattr(make, "at_paper_size"):
        text = "the published size, where the defaults are smaller; other options still hold"
        options.append(Option("paper", bool, False, text))
    return options


def _parse(
    name: str, make: Any, argv: Sequence[str], own: list[Option], of_experiment: list[Option]
) -> dict[str, Any]:
    groups = {"experiment": Group(of_experiment)}
    given = parse(own, argv, f"{_PROG} {name}", description=summary(make), groups=groups)
    return {"experiment": {}} | given


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
