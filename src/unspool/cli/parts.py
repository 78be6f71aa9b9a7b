"""The options of the problem, the estimator, the optimizer and the schedule that are named."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .._config import names
from .._config.build import convert, estimator_options, schedule_options
from .._config.docs import first_sentence, summary
from .._config.options import Option, find_objects, find_options
from .._config.train_config import Spec
from .parse import Group


class Part(NamedTuple):
    """A class or function with its options, those of the objects it takes included.

    - `about`: what it is, in a sentence.
    - `prefix`: what its options begin with.
    """

    spec: Spec
    about: str
    options: list[Option]
    prefix: str
    objects: dict[str, "Part"]

    @property
    def key(self) -> str:
        """The heading of its options."""
        return re.sub(r"\W", "_", self.prefix.rstrip(".") or self.spec.name.rpartition(":")[2])

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The options as data: what was typed, and what no option can give."""
        typed = given.get(self.key, {})
        values = self.spec.options | typed
        for name, own in self.objects.items():
            values[name] = Spec(own.spec.name, own.values(given))
        # A default that depends on something is filled in later.
        is_open = {option.name for option in self.options if option.shown is not None}
        return {k: v for k, v in values.items() if v is not None or k not in is_open}


def groups_of(parts: Sequence[Part]) -> dict[str, Group]:
    """The options of some parts, and of the objects they take, under their headings."""
    every = [each for part in parts for each in (part, *part.objects.values())]
    return {part.key: Group(part.options, part.prefix) for part in every}


def find_part(what: str, spec: Spec, prefix: str, argv: Sequence[str], start: Path) -> Part:
    """A problem or an estimator, with the objects that are typed for it.

    Its options have the defaults that `spec` gives.
    """
    found = names.find(what, spec.name, start)
    thing = found.thing if isinstance(found.thing, type) else type(found.thing)
    about = f"{thing.__name__}: {summary(thing)}"
    if not found.takes_options:
        return Part(spec, about, [], prefix, {})
    options = estimator_options(found.thing) if what == "estimator" else find_options(found.thing)
    options = with_defaults(options, spec.options)
    objects = {}
    for option in find_objects(found.thing):
        base = _as_spec(spec.options.get(option.name))
        name = scan(argv, option.flag(prefix))
        options.append(dataclasses.replace(option, default=base.name if base else None))
        if name is None and base is None:
            continue
        own = base if base and name in (None, base.name) else Spec(name or "")
        kind = option.name if option.name in names.PARTS else "object"
        objects[option.name] = _object(kind, own, f"{prefix}{option.name}.", start)
    return Part(spec, about, options, prefix, objects)


def _object(kind: str, spec: Spec, prefix: str, start: Path) -> Part:
    found = names.find(kind, spec.name, start)
    options = find_options(found.thing) if found.takes_options else []
    return Part(spec, "", with_defaults(options, spec.options), prefix, {})


def optimizer_parts(spec: Spec, start: Path, taken: set[str]) -> Iterator[Part]:
    """The optimizer's options; those whose name is taken begin with `--optimizer.`."""
    spec = names.with_momentum(spec)
    found = names.find("optimizer", spec.name, start)
    options = find_options(found.thing) if found.takes_options else []
    options = [
        dataclasses.replace(option, help=first_sentence(option.help))
        for option in with_defaults(options, spec.options)
        if option.name != "learning_rate"
    ]
    yield Part(spec, "", [option for option in options if option.name not in taken], "", {})
    if shared := [option for option in options if option.name in taken]:
        yield Part(spec, "", shared, "optimizer.", {})


def schedule_part(spec: Spec, start: Path) -> Part:
    """The options of a schedule besides the learning rate."""
    make = names.find("schedule", spec.name, start).thing
    shown = {"decay_steps": "num_updates", "transition_steps": "num_updates"}
    shown["warmup_steps"] = "a tenth of num_updates"
    options = []
    for option in schedule_options(make, 1):
        if option.name in shown:
            option = dataclasses.replace(
                option, kind=int | None, default=None, shown=shown[option.name]
            )
        help_text = first_sentence(option.help) or f"as of optax.{make.__name__}"
        options.append(dataclasses.replace(option, help=help_text))
    return Part(spec, "", with_defaults(options, spec.options), "schedule.", {})


def with_defaults(options: Sequence[Option], values: Mapping[str, Any]) -> list[Option]:
    """The options, with these values for defaults."""

    def given(option: Option) -> Option:
        value = convert(option.name, values[option.name], option.kind)
        return dataclasses.replace(option, default=value, shown=None)

    return [given(option) if option.name in values else option for option in options]


def label_of(what: str, name: str, start: Path) -> str:
    """The class or the object that is named, by its own name alone."""
    return names.find(what, name, start).name.rpartition(":")[2]


def split_words(argv: Sequence[str], most: int) -> tuple[list[str], list[str]]:
    """The words before the first option, so many at most, and the rest."""
    count = 0
    while count < min(most, len(argv)) and not argv[count].startswith("-"):
        count += 1
    return list(argv[:count]), list(argv[count:])


def scan(argv: Sequence[str], flag: str) -> str | None:
    """The value that is given last for an option, before all options are known."""
    found = None
    for place, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name == flag and equals:
            found = value
        elif name == flag and place + 1 < len(argv) and not argv[place + 1].startswith("-"):
            found = argv[place + 1]
    return found


def scan_several(argv: Sequence[str], flag: str) -> list[str] | None:
    """The values that are given last for an option of several, before all options are known."""
    found, rest = None, list(argv)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name == flag:
            found = [value] if equals else []
            while not equals and rest and not rest[0].startswith("-"):
                found.append(rest.pop(0))
    return found


def _as_spec(value: Any) -> Spec | None:
    if value is None or isinstance(value, Spec):
        return value
    return Spec(value) if isinstance(value, str) else Spec(**value)
