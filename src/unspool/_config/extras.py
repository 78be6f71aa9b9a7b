"""Packages that come with an extra of this library, and what is said where one is missing."""

import contextlib
from collections.abc import Iterator

from .errors import ConfigError

_EXTRAS = {
    "PIL": "control",
    "alembic": "log",
    "brax": "brax",
    "gymnasium": "control",
    "jinja2": "cli",
    "markdown_it": "cli",
    "matplotlib": "cli",
    "mlflow": "log",
    "mujoco": "control",
    "optuna": "experiments",
    "ray": "ray",
    "rich": "cli",
    "safetensors": "export",
    "sqlalchemy": "log",
    "tensorboardX": "log",
    "tomli_w": "cli",
    "tyro": "cli",
    "wandb": "log",
    "yaml": "cli",
}


def describe_missing(error: BaseException, doing: str = "this") -> str | None:
    """A sentence on a missing package that an extra has; `None` if something else is wrong."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    extra = _EXTRAS.get((name or "").partition(".")[0])
    if extra is None:
        return None
    return f"{doing} needs {name}, which is not there: pip install 'unspool[{extra}]'"


@contextlib.contextmanager
def needing(doing: str) -> Iterator[None]:
    """Turns the failed import of a package of an extra into a `ConfigError` that names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (sentence := describe_missing(error, doing)) is None:
            raise
        raise ConfigError(sentence) from error
