"""Arguments of `gymnasium.make` as a problem keeps them: hashable, lists and dictionaries too."""

from collections.abc import Mapping
from typing import Any

Options = tuple[tuple[str, Any], ...]


class _List(list):
    """A list that stays as it is."""

    def __hash__(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash((list, tuple(self)))


class _Dictionary(dict):
    """A dictionary that stays as it is."""

    def __hash__(self):  # pyright: ignore[reportIncompatibleVariableOverride]
        return hash((dict, frozenset(self.items())))


def freeze_options(options: Mapping[str, Any] | Options) -> Options:
    """Options in order, as copies that nobody changes, so that equal ones are equal.

    **Raises:** `ValueError` for a value that is, or holds, neither hashable nor a list or a
    dictionary.
    """
    kept = tuple((name, _freeze(value)) for name, value in sorted(dict(options).items(), key=_name))
    for name, value in kept:
        try:
            hash(value)
        except TypeError as error:
            raise ValueError(
                f"make_options must have values that are hashable, or lists or dictionaries of "
                f"such, got {value!r} for {name!r}: {error}"
            ) from None
    return kept


def thaw_options(options: Options) -> dict[str, Any]:
    """Copies of the options for an environment, which may change them."""
    return {name: _thaw(value) for name, value in options}


def _name(option: tuple[str, Any]) -> str:
    return option[0]


def _freeze(value: Any) -> Any:
    if isinstance(value, list):
        return _List(map(_freeze, value))
    if isinstance(value, dict):
        return _Dictionary((name, _freeze(item)) for name, item in value.items())
    return tuple(map(_freeze, value)) if type(value) is tuple else value


def _thaw(value: Any) -> Any:
    if isinstance(value, _List):
        return list(map(_thaw, value))
    if isinstance(value, _Dictionary):
        return {name: _thaw(item) for name, item in value.items()}
    return tuple(map(_thaw, value)) if type(value) is tuple else value
