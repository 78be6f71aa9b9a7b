"""`unspool list`: problems, estimators and experiments, with their options."""

import contextlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

from .._config import names
from .._config.build import LEARNING_RATE, estimator_options, schedule_options
from .._config.docs import first_sentence, strip_markup, summary
from .._config.errors import ConfigError, suggest
from .._config.options import Option, find_objects, find_options, format_value
from .._estimator import AbstractEstimator
from ..experiments import known as _known
from .errors import UsageError
from .parse import Help

_KINDS = ("problems", "estimators", "optimizers", "schedules", "experiments")
_OF_OPTAX = {"optimizers": names.optimizers, "schedules": names.schedules}


def list_(
    what: Annotated[
        tuple[str, ...], Help("kinds, or names of entries", " ".join(_KINDS), "WHAT ...")
    ] = _KINDS,
    /,
) -> None:
    """List problems, estimators and experiments with their options and defaults."""
    entries = {name: _find_entries(name) for name in what if name not in _KINDS}
    for name in what:
        if name in _OF_OPTAX:
            print(f"{name} of optax")
            print(textwrap.indent(textwrap.fill(", ".join(_OF_OPTAX[name]()), 78), "  "))
        elif name in _KINDS:
            header, rows = _ROWS[name]()
            (_print_rich if sys.stdout.isatty() else _print_plain)(name, header, rows)
        else:
            for entry in entries[name]:
                entry.print()


class _Entry(NamedTuple):
    """A problem, an estimator or an experiment, with the options that it is made of.

    - `begin`: how it is begun on the command line.
    """

    name: str
    made: Callable[..., Any]
    options: Sequence[Option]
    prefix: str
    begin: str

    def print(self) -> None:
        print(f"{self.name}: {summary(self.made)}")
        if isinstance(self.made, type) and issubclass(self.made, AbstractEstimator):
            _, _, steps, derivatives = _table_row(self.made)
            print(f"  estimand: {self.made.estimand}")
            print(f"  derivatives: {derivatives}")
            print(f"  steps per estimate: {steps}")
        for option in self.options:
            default = option.shown or format_value(option.default)
            text = first_sentence(option.help)
            print(f"  {option.flag(self.prefix)}: {text} (default: {default})")
        print(f"  begin with: {self.begin}")


def _find_entries(name: str) -> list[_Entry]:
    """Those of this name, which a problem and an experiment may share."""
    problems, estimators = names.problems(), names.estimators()
    optimizers, schedules = names.optimizers(), names.schedules()
    experiments = _known.experiments()
    found = []
    with contextlib.suppress(ConfigError):
        made = names.choose("problem", name, problems)
        begin = f"unspool train {name} nres"
        options = [*find_options(made), *find_objects(made)]
        found.append(_Entry(f"problem {name}", made, options, "problem.", begin))
    with contextlib.suppress(ConfigError):
        made = names.choose("estimator", name, estimators)
        begin = f"unspool train PROBLEM {name}"
        options = [*estimator_options(made), *find_objects(made)]
        found.append(_Entry(f"estimator {name}", made, options, "", begin))
    with contextlib.suppress(ConfigError):
        made = names.choose("optimizer", name, optimizers)
        begin = f"unspool train PROBLEM nres --optimizer {name}"
        of_optimizer = find_options(made, {"learning_rate": LEARNING_RATE})
        found.append(_Entry(f"optimizer {name}", made, of_optimizer, "", begin))
    with contextlib.suppress(ConfigError):
        made = names.choose("schedule", name, schedules)
        begin = f"unspool train PROBLEM nres --schedule {name}"
        of_schedule = schedule_options(made, 1000)
        found.append(_Entry(f"schedule {name}", made, of_schedule, "schedule.", begin))
    with contextlib.suppress(ConfigError):
        made = names.choose("experiment", name, experiments)
        begin = f"unspool reproduce {name}"
        found.append(_Entry(f"experiment {name}", made, find_options(made), "", begin))
    if not found:
        known = problems, estimators, optimizers, schedules, experiments
        near = suggest(name, [*_KINDS, *(name for each in known for name in each)])
        raise UsageError(f"there is nothing called {name!r} to list{near}")
    return found


def _problems() -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, summary(cls), _format_options(find_options(cls), "problem.")]
        for name, cls in names.problems().items()
    ]
    return ["name", "what it is", "options"], rows


def _estimators() -> tuple[list[str], list[list[str]]]:
    rows = []
    for name, cls in names.estimators().items():
        _, _, steps, derivatives = _table_row(cls)
        options = _format_options(estimator_options(cls), "")
        rows.append([name, summary(cls), cls.estimand, derivatives, steps, options])
    header = ["name", "what it is", "estimand", "derivatives", "steps per estimate", "options"]
    return header, rows


def _experiments() -> tuple[list[str], list[list[str]]]:
    rows = [
        [name, summary(cls), _format_options(find_options(cls), "")]
        for name, cls in _known.experiments().items()
    ]
    return ["name", "what it is", "options"], rows


_ROWS = {"problems": _problems, "estimators": _estimators, "experiments": _experiments}


def _format_options(options: Sequence[Option], prefix: str) -> str:
    return ", ".join(f"{o.flag(prefix)} {o.shown or format_value(o.default)}" for o in options)


def _table_row(cls: type) -> list[str]:
    """The row of the table in an estimator's docstring."""
    rows = re.findall(r"^\| .* \|$", inspect.getdoc(cls) or "", re.MULTILINE)
    cells = [strip_markup(cell) for cell in rows[-1].strip("|").split("|")] if rows else []
    return cells if len(cells) == 4 else [""] * 4


def _print_rich(kind: str, header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=kind, title_justify="left", show_lines=True)
    for column in header:
        table.add_column(column, no_wrap=column == "name")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def _print_plain(kind: str, header: list[str], rows: list[list[str]]) -> None:
    print(kind)
    for name, what, *rest in rows:
        print(f"  {name}: {what}")
        for column, cell in zip(header[2:], rest, strict=True):
            if cell:
                print(f"    {column}: {cell}")
