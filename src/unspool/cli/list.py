"""`unspool list`: problems, estimators and experiments, with their options."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from .._config import names
from .._config.build import LEARNING_RATE, estimator_options, schedule_options
from .._config.docs import first_sentence, strip_markup, summary
from .._config.errors import suggest
from .._config.options import Option, find_objects, find_options, format_value
from .._estimator import AbstractEstimator
from ..experiments import known
from .errors import UsageError
from .parse import Help


class _Kind(NamedTuple):
    """The entries of one kind.

    - `find`: the classes or functions by name.
    - `options`: the options of one.
    - `prefix`: what they begin with, with a place for the name.
    - `begin`: how one is begun on the command line.
    - `of_optax`: they are optax's, whose documentation describes them.
    """

    find: Callable[[], Mapping[str, Callable[..., Any]]]
    options: Callable[[Any], Sequence[Option]]
    prefix: str
    begin: str
    of_optax: bool = False


_KINDS = {
    "problems": _Kind(
        names.problems,
        lambda made: [*find_options(made), *find_objects(made)],
        "problem.",
        "unspool train {} nres",
    ),
    "estimators": _Kind(
        names.estimators,
        lambda made: [*estimator_options(made), *find_objects(made)],
        "",
        "unspool train PROBLEM {}",
    ),
    "optimizers": _Kind(
        names.optimizers,
        lambda made: find_options(made, {"learning_rate": LEARNING_RATE}),
        "",
        "unspool train PROBLEM nres --optimizer {}",
        of_optax=True,
    ),
    "schedules": _Kind(
        names.schedules,
        lambda made: schedule_options(made, 1000),
        "schedule.",
        "unspool train PROBLEM nres --schedule {}",
        of_optax=True,
    ),
    "loggers": _Kind(
        names.loggers, lambda made: find_options(made), "{}.", "unspool train PROBLEM nres --log {}"
    ),
    "experiments": _Kind(
        lambda: known.experiments(), lambda made: find_options(made), "", "unspool reproduce {}"
    ),
}


def list_(
    what: Annotated[
        tuple[str, ...], Help("kinds, or names of entries", " ".join(_KINDS), "WHAT ...")
    ] = tuple(_KINDS),
    /,
) -> None:
    """List problems, estimators and experiments with their options and defaults."""
    details = {name: _describe(name) for name in what if name not in _KINDS}
    for name in what:
        if name in details:
            print(*details[name], sep="\n")
        else:
            _print_kind(name)


def _describe(name: str) -> list[str]:
    """All about what has this name, which a problem and an experiment may share."""
    lines = []
    for plural, kind in _KINDS.items():
        found = names.matching(name, kind.find())
        if found is None:
            continue
        lines.append(f"{plural.removesuffix('s')} {name}: {summary(found)}")
        lines += [f"  {key}: {value}" for key, value in _facts(found).items()]
        for option in kind.options(found):
            default = option.shown or format_value(option.default)
            text = first_sentence(option.help)
            flag = option.flag(kind.prefix.format(name))
            lines.append(f"  {flag}: {text} (default: {default})")
        lines.append(f"  begin with: {kind.begin.format(name)}")
    if not lines:
        entries = [entry for kind in _KINDS.values() for entry in kind.find()]
        near = suggest(name, [*_KINDS, *entries])
        raise UsageError(f"there is nothing called {name!r} to list{near}")
    return lines


def _print_kind(name: str) -> None:
    kind = _KINDS[name]
    if kind.of_optax:
        print(f"{name} of optax")
        print(textwrap.indent(textwrap.fill(", ".join(kind.find()), 78), "  "))
        return
    rows = [
        {"name": entry, "what it is": summary(made)}
        | _facts(made)
        | {"options": _format_options(kind.options(made), kind.prefix.format(entry))}
        for entry, made in kind.find().items()
    ]
    (_print_rich if sys.stdout.isatty() else _print_plain)(name, rows)


def _facts(made: Callable[..., Any]) -> dict[str, str]:
    """The row of the table in an estimator's docstring; nothing of anything else."""
    table = re.findall(r"^\| .* \|$", inspect.getdoc(made) or "", re.MULTILINE)
    if len(table) != 2 or not (isinstance(made, type) and issubclass(made, AbstractEstimator)):
        return {}
    header, row = ([strip_markup(x) for x in line.strip("|").split("|")] for line in table)
    facts = dict(zip(header, row, strict=True))
    # Where it depends on settings, the class has a property, and the table what is usual.
    if isinstance(made.estimand, str):
        facts["estimand"] = made.estimand
    return {name: facts[name] for name in ("estimand", "derivatives", "steps per estimate")}


def _format_options(options: Sequence[Option], prefix: str) -> str:
    return ", ".join(f"{o.flag(prefix)} {o.shown or format_value(o.default)}" for o in options)


def _print_rich(kind: str, rows: Sequence[Mapping[str, str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=kind, title_justify="left", show_lines=True)
    for column in rows[0]:
        table.add_column(column, no_wrap=column == "name")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    Console().print(table)


def _print_plain(kind: str, rows: Sequence[Mapping[str, str]]) -> None:
    print(kind)
    for row in rows:
        name, what, *others = row.items()
        print(f"  {name[1]}: {what[1]}")
        for column, cell in others:
            if cell:
                print(f"    {column}: {cell}")
