"""The templates of the page: jinja2 with the filters that they use, and Markdown without HTML."""

from collections.abc import Iterable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from .._statistics.curves import MAX_POINTS
from .._statistics.intervals import format_interval, format_mean, format_number, spread
from .._statistics.summarize import AXES, LabelSummary
from ..records import Setting
from .diagnostics import diagnose
from .options import format_options
from .style import NAMED, swatch
from .units import in_own_units, own_units

MAX_PARAMETER_COLUMNS = 4
MAX_PARAMETER_ROWS = 32
_COST_HEADINGS = ("updates", "problem steps", "sequential steps", "seconds")
# Text of a user's file makes paragraphs, lists and emphasis, and never elements of its own.
_MARKDOWN = MarkdownIt("zero").enable(["backticks", "emphasis", "escape", "link", "list"])


def render(template: str, **values: Any) -> str:
    """A template filled with values, which are escaped: they are text."""
    return _ENVIRONMENT.get_template(template).render(values)


def _markdown(text: str) -> Markup:
    return Markup(_MARKDOWN.render(text).strip())


def _initial(text: str) -> str:
    """The text with its first letter in upper case, as a heading has it."""
    return text[0].upper() + text[1:]


def _distinct(settings: Iterable[Setting]) -> list[tuple[str, str]]:
    """Names and options of settings, each once."""
    return list(dict.fromkeys((x.name, format_options(x.options)) for x in settings))


def _num_seeds(summary: LabelSummary) -> str:
    """The seeds that have a final value, and of how many if some have none."""
    count, total = summary.final.count, len(summary.runs)
    return str(total) if count == total else f"{count} of {total}"


_ENVIRONMENT = Environment(
    loader=PackageLoader("unspool._report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "distinct": _distinct,
    "ends": format_interval,
    "initial": _initial,
    "markdown": _markdown,
    "mean": format_mean,
    "by_label": lambda standing: (standing.label, standing),
    "num_seeds": _num_seeds,
    "number": lambda value: format_number(float(value)),
    "own_name": lambda name: own_units(name).name,
    "own_units": in_own_units,
    "spread": lambda costs: spread(costs, is_positive=True),
    "swatch": lambda index: Markup(swatch(index)),
}
_ENVIRONMENT.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
_ENVIRONMENT.globals |= {
    "axes": dict(zip(AXES, _COST_HEADINGS, strict=True)),
    "diagnose": diagnose,
    "max_parameter_columns": MAX_PARAMETER_COLUMNS,
    "max_parameter_rows": MAX_PARAMETER_ROWS,
    "max_points": MAX_POINTS,
    "palette": NAMED,
}
