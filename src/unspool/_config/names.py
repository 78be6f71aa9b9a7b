"""Names in settings: of classes and functions of the library and of optax, and the user's own."""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import equinox as eqx
import optax
import optax.contrib

from .. import problems as _problems
from .._black_box import AbstractBlackBox
from .._engine import AbstractEngine
from .._estimator import AbstractEstimator
from .._estimator.chunked import Chunked
from .._estimator.control import AbstractControl
from .._estimator.cut import AbstractCut
from .._estimator.directions import AbstractDirections
from .._estimator.phases import AbstractPhases
from .._joint import JointProblem
from .._logger import AbstractLogger
from .._problem import AbstractProblem
from ..problems import control as _control
from .errors import ConfigError, suggest
from .load_object import load_module
from .options import find_options, missing_arguments
from .train_config import Spec

_SPELLED = {"KFRTRL": "kf-rtrl", "SnAp1": "snap1"}
_NEED_LOSS_FUNCTION = "lbfgs", "sophia"
_SCHEDULE_ARGUMENTS = {
    "decay_rate", "decay_steps", "end_value", "init_value", "peak_value", "power",
    "transition_steps", "value", "warmup_steps",
}  # fmt: skip
PARTS: dict[str, type] = {
    "control": AbstractControl,
    "cut": AbstractCut,
    "directions": AbstractDirections,
    "phases": AbstractPhases,
}
"""The options of estimators that are objects of a kind of their own."""

_WANTED = {
    "problem": "a subclass or an instance of unspool.AbstractProblem, AbstractHostProblem or "
    "AbstractSimulatorProblem",
    "estimator": "a subclass or an instance of unspool.AbstractEstimator",
    "control": "a subclass or an instance of unspool.extend.AbstractControl",
    "cut": "a subclass or an instance of unspool.extend.AbstractCut",
    "directions": "a subclass or an instance of unspool.extend.AbstractDirections",
    "phases": "a subclass or an instance of unspool.extend.AbstractPhases",
    "optimizer": "an optimizer of optax, or a function that makes one",
    "schedule": "a function that makes a schedule",
    "training run": "an instance of unspool.problems.schedules.ModelTraining (unspool train takes "
    "any problem)",
    "task": "an instance of Task or OptimizerTraining of unspool.problems.learned_optimizer",
    "learned optimizer": "a subclass or an instance of "
    "unspool.problems.learned_optimizer.AbstractLearnedOptimizer",
    "logger": "a subclass or an instance of unspool.log.AbstractLogger, or a function of a record",
    "object": "a class, or a ready object",
}


class Found(NamedTuple):
    """The thing that a name stands for.

    - `name`: the whole name: `unspool:NRES`, `optax:adam`, `mine.py:Walk`.
    - `thing`: a class or a function that takes options, or a ready object.
    """

    name: str
    thing: Any

    @property
    def takes_options(self) -> bool:
        return isinstance(self.thing, type) or inspect.isroutine(self.thing)


def kebab_case(name: str) -> str:
    """`ESSingle` as it is typed: `es-single`."""
    parts = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_"
    return _SPELLED.get(name) or re.sub(parts, "-", name).lower()


def estimators() -> dict[str, type[AbstractEstimator]]:
    """The exported estimators by the name they are typed with; `Chunked` is an option of all."""
    found = exported(_library(), AbstractEstimator)
    return {name: cls for name, cls in found.items() if cls is not Chunked}


def controls() -> dict[str, type[AbstractControl]]:
    """The exported controls: `fitted-window` and `window-gradient`."""
    found = exported(_library(), AbstractControl)
    return {name.removesuffix("-control"): cls for name, cls in found.items()}


def cuts() -> dict[str, type[AbstractCut]]:
    """The exported cuts: `parameter` and `state`."""
    found = exported(_library(), AbstractCut)
    return {name.removesuffix("-cut"): cls for name, cls in found.items()}


def directions() -> dict[str, type[AbstractDirections]]:
    """The exported directions: `gaussian`, `lattice` and others."""
    found = exported(_library(), AbstractDirections)
    return {name.removesuffix("-directions"): cls for name, cls in found.items()}


def phases() -> dict[str, type[AbstractPhases]]:
    """The exported phases: `even`, `independent` and `staggered`."""
    found = exported(_library(), AbstractPhases)
    return {name.removesuffix("-phases"): cls for name, cls in found.items()}


def problems() -> dict[str, type[AbstractProblem] | type[AbstractBlackBox]]:
    """The exported problems by the name they are typed with, if options can construct one."""
    found = {
        name: cls
        for module in (_problems, _control)
        for name, cls in exported(module, (AbstractProblem, AbstractBlackBox)).items()
    }
    constructible = {
        name for name, cls in found.items() if not missing_arguments(cls, find_options(cls))
    }
    return {name: found[name] for name in sorted(constructible)}


def optimizers() -> dict[str, Callable[..., optax.GradientTransformation]]:
    """The optimizers of optax that need a learning rate and nothing else.

    `momentum` is short for SGD with one: `with_momentum` has its options.
    """
    found = {
        kebab_case(name): function
        for module in (optax.contrib, optax)
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith(("_", "scale_by_"))
        and name not in _NEED_LOSS_FUNCTION
        and "learning_rate" in inspect.signature(function).parameters
        and _needed(function) <= {"learning_rate"}
    }
    return dict(sorted((found | {"momentum": optax.sgd}).items()))


def with_momentum(spec: Spec) -> Spec:
    """The options of `momentum`, which is that of SGD with 0.9; any other optimizer as it is."""
    if _normalize(spec.name) != "momentum":
        return spec
    return Spec("sgd", {"momentum": 0.9} | spec.options)


def schedules() -> dict[str, Callable[..., optax.Schedule]]:
    """The schedules of optax for a rate, a number of steps and the like: `cosine`, `linear`."""
    return {
        kebab_case(re.sub(r"(_decay)?(_schedule)?$", "", name)): function
        for name, function in sorted(vars(optax).items())
        if inspect.isfunction(function)
        and name.endswith(("_decay", "_schedule"))
        and _needed(function) <= _SCHEDULE_ARGUMENTS
        and {"init_value", "peak_value", "value"} & set(inspect.signature(function).parameters)
    }


def loggers() -> dict[str, type[AbstractLogger]]:
    """The exported loggers that options can construct: `tensorboard`, `wandb` and `mlflow`."""
    found = {cls.__name__.lower(): cls for cls in exported(_loggers(), AbstractLogger).values()}
    return {name: cls for name, cls in found.items() if not missing_arguments(cls, [])}


def exported(module: ModuleType, base: type | tuple[type, ...]) -> dict[str, Any]:
    """The classes that a module exports, by the names they are typed with."""
    return {
        kebab_case(name): value
        for name, value in inspect.getmembers(module)
        if isinstance(value, type) and issubclass(value, base) and not inspect.isabstract(value)
        and not name.startswith(("_", "Abstract"))
    }  # fmt: skip


def is_exported(thing: type | str) -> bool:
    """True for a class that the library exports, or its name."""
    if isinstance(thing, str):
        return hasattr(_library(), thing)
    return getattr(_library(), thing.__name__, None) is thing


def matching(name: str, choices: Mapping[str, Any]) -> Any:
    """The choice of this name, however it is hyphenated; `None` if there is none."""
    return {_normalize(known): value for known, value in choices.items()}.get(_normalize(name))


def choose(what: str, name: str, choices: Mapping[str, Any]) -> Any:
    """The choice of this name, as `matching` finds it; else an error with suggestions."""
    if (found := matching(name, choices)) is None:
        there_is = "there are" if what in ("directions", "phases") else "there is"
        raise ConfigError(f"{there_is} no {what} {name!r}{suggest(name, choices)}")
    return found


def find(what: str, name: str, start: Path) -> Found:
    """The thing of a name, in the library or in the user's files, which are imported.

    **Arguments:**

    - `what`: "problem", "estimator", "optimizer", "schedule", "control", "cut", "directions",
      "phases", "logger", "task", "learned optimizer", "training run" or "object".
    - `start`: the directory that files and packages are looked for in.

    **Raises:** `ConfigError` for a name that is not there, or is of something else.
    """
    if ":" in name or name.endswith(".py"):
        return _find_own(what, name, start)
    if what in ("task", "learned optimizer", "training run"):
        raise ConfigError(f"{name} must be file.py:NAME, where NAME is {_WANTED[what]}")
    try:
        thing = choose(what, name, _known(what))
    except ConfigError as error:
        own = " (or name your own: file.py:Class)" if what == "problem" else ""
        raise ConfigError(f"{error}{own}") from None
    places = _library(), _problems, _control, _loggers(), optax, optax.contrib
    # Some of optax are known by other names than their own.
    place, known = next((m, k) for m in places for k, v in vars(m).items() if v is thing)
    return Found(f"{place.__name__.removesuffix('._exports')}:{known}", thing)


def _known(what: str) -> Mapping[str, Any]:
    if what == "object":
        modules = _library(), _problems, _control
        return {k: v for module in modules for k, v in exported(module, eqx.Module).items()}
    known = {"problem": problems, "estimator": estimators, "optimizer": optimizers}
    known |= {"schedule": schedules, "logger": loggers}
    known |= {"control": controls, "cut": cuts, "directions": directions, "phases": phases}
    return known[what]()


def _find_own(what: str, spec: str, start: Path) -> Found:
    source, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    module = load_module(source, start)
    if not name:
        name = _only_name(what, module, source)
    found = getattr(module, name, None)
    candidates = [key for key, value in vars(module).items() if _is_own(what, value)]
    if found is None:
        there = suggest(name, candidates) if candidates else f", and no {what} at all"
        raise ConfigError(f"there is no {name!r} in {source}{there}")
    if not _is_one(what, found):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        there = f"; {source} holds {', '.join(candidates)}" if candidates else ""
        raise ConfigError(f"{spec} is {kind}, and must be {_WANTED[what]}{there}")
    lacking = sorted(getattr(found, "__abstractmethods__", ()))
    if isinstance(found, type) and lacking:
        raise ConfigError(f"{spec} lacks {', '.join(lacking)}, which every {what} needs")
    if what == "logger" and inspect.isroutine(found):
        found = _loggers().Callback(found)
    return Found(f"{source}:{name}", found)


def _only_name(what: str, module: ModuleType, source: str) -> str:
    own = [
        key
        for key, value in vars(module).items()
        if _is_own(what, value) and getattr(value, "__module__", None) == module.__name__
    ]
    if len(own) != 1:
        holds = f"holds {', '.join(own)}" if own else f"holds no {what}"
        raise ConfigError(f"{source} {holds}: name one as {source}:NAME")
    return own[0]


def _is_one(what: str, value: Any) -> bool:
    if what == "optimizer":
        is_ready = callable(getattr(value, "init", None)) and callable(
            getattr(value, "update", None)
        )
        return is_ready or inspect.isroutine(value)
    if what == "logger" and inspect.isroutine(value):
        return True
    if what == "schedule":
        return inspect.isroutine(value)
    classes, ready = _kinds(what)
    return issubclass(value, classes) if isinstance(value, type) else isinstance(value, ready)


def _kinds(what: str) -> tuple[tuple[type, ...], tuple[type, ...]]:
    """The classes that a name may stand for, and those that it may be an instance of."""
    if what == "problem":
        classes = AbstractProblem, AbstractBlackBox
        return classes, (*classes, AbstractEngine, JointProblem)
    if what in ("learned optimizer", "task"):
        # Late, for few programs need it.
        from ..problems.learned_optimizer import AbstractLearnedOptimizer, OptimizerTraining, Task

        own = (AbstractLearnedOptimizer,)
        return (own, own) if what == "learned optimizer" else ((), (Task, OptimizerTraining))
    if what == "training run":
        from ..problems.schedules import ModelTraining

        return (), (ModelTraining,)
    known = PARTS | {"estimator": AbstractEstimator, "logger": AbstractLogger}
    own = known.get(what, object)
    return (own,), (own,)


def _is_own(what: str, value: Any) -> bool:
    """True if it is one that the user has written or made."""
    if isinstance(value, type):
        return _is_one(what, value) and not value.__module__.startswith("unspool.")
    return _is_one(what, value) and not getattr(value, "__module__", "").startswith("optax")


def _library() -> ModuleType:
    # By name, for it exports this package's functions too.
    return importlib.import_module("unspool._exports")


def _loggers() -> ModuleType:
    return importlib.import_module("unspool.log")


def _needed(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters
    return {name for name, x in parameters.items() if x.default is x.empty}


def _normalize(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
