"""The names of the command line: those that the library exports, and the user's own."""

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import optax
import optax.contrib

from .. import _exports
from .. import experiments as _experiments
from .. import problems as _problems
from .._black_box import AbstractBlackBox
from .._engine import AbstractEngine
from .._estimator import AbstractEstimator
from .._estimator.chunked import Chunked
from .._joint import AnyProblem, JointProblem
from .._problem import AbstractProblem
from ..experiments.base import AbstractExperiment
from ..problems import control as _control
from .errors import UsageError, as_usage_errors, suggest
from .options import find_options, missing_arguments

_NEED_LOSS_FUNCTION = "lbfgs", "sophia"


def kebab_case(name: str) -> str:
    """`ESSingle` as it is typed: `es-single`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_", "-", name).lower()


def estimators() -> dict[str, type[AbstractEstimator]]:
    """The exported estimators by the name they are typed with; `Chunked` is an option of all."""
    found = _exported(_exports, AbstractEstimator)
    return {name: cls for name, cls in found.items() if cls is not Chunked}


def problems() -> dict[str, type[AbstractProblem] | type[AbstractBlackBox]]:
    """The exported problems by the name they are typed with, if options can construct one."""
    found = {
        name: cls
        for module in (_problems, _control)
        for name, cls in _exported(module, (AbstractProblem, AbstractBlackBox)).items()
    }
    constructible = {
        name for name, cls in found.items() if not missing_arguments(cls, find_options(cls))
    }
    return {name: found[name] for name in sorted(constructible)}


def experiments() -> dict[str, type[AbstractExperiment]]:
    """The exported experiments by the name they are typed with."""
    return {cls.name: cls for cls in _exported(_experiments, AbstractExperiment).values()}


def optimizers() -> dict[str, Callable[[float], optax.GradientTransformation]]:
    """The optimizers of optax that need a learning rate and nothing else."""
    found = {
        kebab_case(name): function
        for module in (optax.contrib, optax)
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith(("_", "scale_by_"))
        and name not in _NEED_LOSS_FUNCTION
        and _needs_only_learning_rate(function)
    }
    found["momentum"] = lambda learning_rate: optax.sgd(learning_rate, momentum=0.9)
    return dict(sorted(found.items()))


def _needs_only_learning_rate(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters
    needed = {name for name, x in parameters.items() if x.default is x.empty}
    return "learning_rate" in parameters and needed <= {"learning_rate"}


def choose(what: str, name: str, choices: dict[str, Any]) -> Any:
    """The choice of this name, however it is hyphenated; else a `UsageError` with suggestions."""
    squeezed = {_normalize(known): value for known, value in choices.items()}
    if _normalize(name) in squeezed:
        return squeezed[_normalize(name)]
    raise UsageError(f"there is no {what} {name!r}{suggest(name, choices)}")


def load_problem(spec: str, start: Path) -> type[AbstractProblem | AbstractBlackBox] | AnyProblem:
    """A problem's class, a ready instance, an engine, or a `JointProblem`.

    **Arguments:**

    - `spec`: an exported name, `file.py:NAME`, `file.py` if it holds one problem, or
      `package.module:NAME`.
    - `start`: the directory that files and packages are looked for in.
    """
    if ":" not in spec and not spec.endswith(".py"):
        names = problems()
        try:
            return choose("problem", spec, names)
        except UsageError as error:
            raise UsageError(f"{error} (or name your own: file.py:Class)") from None
    source, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    module = (
        load_file((start / source).resolve(), source)
        if source.endswith(".py")
        else load_module(source, start)
    )
    found = getattr(module, name, None) if name else _only_problem(module, source)
    candidates = [key for key, value in vars(module).items() if _is_problem(value)]
    if found is None:
        there = suggest(name, candidates) if candidates else ", and no problem at all"
        raise UsageError(f"there is no {name!r} in {source}{there}")
    if not _is_problem(found):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise UsageError(
            f"{spec} is {kind}, and must be a subclass or an instance of unspool.AbstractProblem, "
            "AbstractHostProblem or AbstractSimulatorProblem"
            + (f"; {source} holds {', '.join(candidates)}" if candidates else "")
        )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if isinstance(found, type) and missing:
        raise UsageError(f"{spec} lacks {', '.join(missing)}, which every problem needs")
    return found


def _exported(module: ModuleType, base: type | tuple[type, ...]) -> dict[str, Any]:
    return {
        kebab_case(name): value
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)
        and not name.startswith(("_", "Abstract"))
    }  # fmt: skip


def _normalize(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _is_problem(value: Any) -> bool:
    kinds = AbstractProblem, AbstractBlackBox
    if isinstance(value, type):
        return issubclass(value, kinds) and not value.__module__.startswith("unspool.")
    return isinstance(value, (*kinds, AbstractEngine, JointProblem))


def _only_problem(module: ModuleType, source: str) -> Any:
    own = {
        key: value
        for key, value in vars(module).items()
        if _is_problem(value) and getattr(value, "__module__", None) == module.__name__
    }
    if len(own) != 1:
        holds = f"holds {', '.join(own)}" if own else "holds no problem"
        raise UsageError(f"{source} {holds}: name one as {source}:NAME")
    return next(iter(own.values()))


def load_file(file: Path, shown: str) -> ModuleType:
    """The module in a file, which errors call `shown`."""
    if not file.is_file():
        near = [path.name for path in file.parent.glob("*.py")] if file.parent.is_dir() else []
        where = "" if file.is_absolute() and file.parent == Path.cwd() else f" in {file.parent}"
        raise UsageError(
            f"there is no file {file.name}{where}" + (suggest(file.name, near) if near else "")
        )
    # A name of its own, so that a file called `random.py` hides no module.
    name = f"_unspool_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{shown} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    _add_to_sys_path(file.parent)
    sys.modules[name] = module
    with as_usage_errors(f"while importing {shown}"):
        spec.loader.exec_module(module)
    return module


def load_module(name: str, start: Path) -> ModuleType:
    """The module of this name, which may lie in the directory `start`."""
    _add_to_sys_path(start)
    try:
        with as_usage_errors(f"while importing {name}"):
            return importlib.import_module(name)
    except UsageError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and name.startswith(cause.name or " "):
            raise UsageError(f"there is no module {name} (looked in {start} too)") from None
        raise


def _add_to_sys_path(directory: Path) -> None:
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
