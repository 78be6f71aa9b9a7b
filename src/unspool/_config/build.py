"""The objects that settings name: problem, estimator and optimizer."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import msgspec
import optax

from .._custom_types import RandomKey
from .._drift import clip_by_drift
from .._estimator import AbstractEstimator
from .._estimator.annealing import Annealing
from .._estimator.chunked import Chunked
from .._joint import AnyProblem, JointProblem, as_joint
from .._optimizer import AnyOptimizer, RatedOptimizer, as_optimizer
from .._random import seeded_key
from .._show import one_line
from .errors import ConfigError, noting, suggest
from .names import PARTS, Found, find, with_momentum
from .options import REQUIRED, Option, find_options, missing_arguments
from .parts import choose_directions, name_parts
from .train_config import AnnealConfig, Spec, TrainConfig, check_positive, is_spec

_DEFAULTS = {"num_workers": 100, "window": None, "period": None, "sigma": 0.1}
_SHOWN_DEFAULTS = {"window": "a tenth of the horizon", "period": "the window"}
_SIGMA = "standard deviation of the perturbation, in units of the parameters, above 0"
LEARNING_RATE = 0.01


@dataclasses.dataclass(frozen=True)
class Training:
    """The objects of a training, and the settings that they are built of.

    - `config`: the settings with every option named, so that a later default changes nothing.
    - `problem`, `estimator`, `optimizer`: as `train` takes them.
    - `start`: the directory that files are named relative to.
    """

    config: TrainConfig
    problem: AnyProblem
    estimator: AbstractEstimator
    optimizer: AnyOptimizer
    start: Path

    def __repr__(self) -> str:
        shown = self.problem, self.estimator, self.config.optimizer
        names = "problem", "estimator", "optimizer"
        return one_line("Training", dict(zip(names, map(repr, shown), strict=True)))

    @property
    def joint(self) -> JointProblem:
        return as_joint(self.problem)

    @property
    def chunked(self) -> AbstractEstimator:
        """The estimator, with as many workers at once as were asked for."""
        chunk = self.config.chunk
        return self.estimator if chunk is None else Chunked(self.estimator, chunk)

    @property
    def key(self) -> RandomKey:
        return seeded_key(self.config.seed)


def build_training(config: TrainConfig, start: str | Path = ".") -> Training:
    """The problem, the estimator and the optimizer that settings name.

    A file of yours that they name is imported, which runs what is in it.

    **Arguments:**

    - `config`: the settings.
    - `start`: the directory that files and packages are looked for in.

    **Raises:** `ConfigError` for a name or an option that is not there, and what the constructors
    raise.

    **Example:**

    >>> nres = unspool.Spec("nres", {"num_workers": 2, "window": 5})
    >>> config = unspool.TrainConfig(problem=unspool.Spec("cubic"), estimator=nres)
    >>> training = unspool.build_training(config)
    >>> type(training.problem).__name__, training.estimator.window
    ('Cubic', 5)
    """
    start = Path(start)
    problem_spec, problem = make_object("problem", config.problem, start)
    with noting("in the problem"):
        joint = as_joint(problem)
    estimator_spec, estimator = make_object("estimator", config.estimator, start, joint.horizon)
    if config.anneal is not None:
        with noting("in the estimator"):
            estimator = _anneal(estimator, config.anneal)
    if find("estimator", estimator_spec.name, start).takes_options:
        estimator = choose_directions(estimator, joint)
        estimator_spec = name_parts(estimator_spec, estimator)
    config = msgspec.structs.replace(
        config,
        problem=problem_spec,
        estimator=estimator_spec,
        log_every=config.log_every or max(1, config.num_updates // 100),
        checkpoint_every=config.checkpoint_every or max(1, config.num_updates // 5),
    )
    config, optimizer = _make_optimizer(config, start)
    return Training(config, problem, estimator, optimizer, start)


def estimator_options(estimator: Callable[..., Any]) -> list[Option]:
    """The options of an estimator, with defaults for those that have none of their own."""
    options = find_options(estimator, _DEFAULTS)
    asked = set(missing_arguments(estimator, []))
    return [
        dataclasses.replace(
            option,
            shown=_SHOWN_DEFAULTS.get(option.name) if option.name in asked else None,
            help=_SIGMA if option.name == "sigma" else option.help,
        )
        for option in options
    ]


def _fill_defaults(options: Sequence[Option], chosen: dict[str, Any], horizon: int) -> None:
    """Fills in the estimator's defaults that depend on the problem."""
    if "window" in chosen and chosen["window"] is None:
        chosen["window"] = max(1, horizon // 10)
    if any(option.name == "period" and option.shown for option in options):
        chosen["period"] = chosen["period"] or chosen["window"]


def schedule_options(schedule: Callable[..., Any], num_updates: int) -> list[Option]:
    """The options of a schedule besides the learning rate, with defaults for so many updates."""
    rate = rate_argument(schedule)
    defaults = {
        "decay_rate": 0.1,
        "decay_steps": num_updates,
        "end_value": 0.0,
        "init_value": 0.0,
        "power": 1.0,
        "transition_steps": num_updates,
        "warmup_steps": max(1, num_updates // 10),
    }
    return [o for o in find_options(schedule, defaults) if o.name != rate]


def rate_argument(schedule: Callable[..., Any]) -> str:
    """The argument of a schedule that is the learning rate: where it starts, or its peak."""
    names = inspect.signature(schedule).parameters
    return next((name for name in ("peak_value", "init_value") if name in names), "value")


def takes_learning_rate(found: Found) -> bool:
    """True for a function of a learning rate, which makes an optimizer."""
    return found.takes_options and "learning_rate" in inspect.signature(found.thing).parameters


def make_object(what: str, spec: Spec, start: Path, horizon: int = 0) -> tuple[Spec, Any]:
    """A problem, an estimator or what they take, and its settings with every option named.

    The defaults of an estimator depend on the problem's `horizon`.
    """
    found = find(what, spec.name, start)
    if not found.takes_options:
        return _as_it_is(what, found, spec), found.thing
    options = estimator_options(found.thing) if what == "estimator" else find_options(found.thing)
    chosen = _choose(found, options, spec)
    if what == "estimator":
        _fill_defaults(options, chosen, horizon)
    doing = "in the estimator" if what == "estimator" else f"while making {spec.name}"
    return _construct(found, chosen, start, doing)


def _anneal(estimator: AbstractEstimator, config: AnnealConfig) -> AbstractEstimator:
    """The estimator with a sigma that falls."""
    sigma = getattr(estimator, "sigma", None)
    if sigma is None:
        raise ConfigError(
            f"{type(estimator).__name__} has no sigma that could fall: leave out anneal, or take "
            "an estimator that perturbs, such as NRES"
        )
    options = {k: v for k, v in msgspec.to_builtins(config).items() if k != "drift"}
    return dataclasses.replace(estimator, sigma=Annealing(sigma, **options))


def _make_optimizer(config: TrainConfig, start: Path) -> tuple[TrainConfig, AnyOptimizer]:
    """The optimizer with its schedule, and the settings with all options of both."""
    spec, of_schedule = with_momentum(config.optimizer), config.schedule
    found = find("optimizer", spec.name, start)
    takes_rate = takes_learning_rate(found)
    if of_schedule is not None and not takes_rate:
        raise ConfigError(f"{spec.name} takes no learning rate: leave out the schedule")
    if found.takes_options:
        defaults = {"learning_rate": LEARNING_RATE} if takes_rate else {}
        spec = Spec(found.name, _choose(found, find_options(found.thing, defaults), spec))
    else:
        spec = _as_it_is("optimizer", found, spec)
    learning_rate = spec.options["learning_rate"] if takes_rate else 0.0
    schedule = lambda rate: rate
    if takes_rate:
        check_positive("learning_rate", learning_rate)
    if of_schedule is not None:
        of_schedule, schedule = _make_schedule(of_schedule, learning_rate, config, start)

    def make(rate):
        rated = {"learning_rate": schedule(rate)} if takes_rate else {}
        thing = found.thing(**spec.options | rated) if found.takes_options else found.thing
        parts, clip = [as_optimizer(thing)], config.clip_norm
        if clip is not None:
            parts = [optax.clip_by_global_norm(clip), *parts]
        if config.anneal is not None:
            parts = [*parts, clip_by_drift(config.anneal.drift)]
        return optax.chain(*parts) if len(parts) > 1 else parts[0]

    with noting("in the optimizer"):
        optimizer = make(learning_rate)
    names = [found.name] if of_schedule is None else [found.name, of_schedule.name]
    if takes_rate and all(name.startswith("optax") for name in names):
        optimizer = RatedOptimizer(make, jnp.asarray(learning_rate))
    return msgspec.structs.replace(config, optimizer=spec, schedule=of_schedule), optimizer


def _make_schedule(
    spec: Spec, rate: float, config: TrainConfig, start: Path
) -> tuple[Spec, Callable[[Any], optax.Schedule]]:
    """The settings of a schedule, and the function that makes it of a rate."""
    found = find("schedule", spec.name, start)
    argument = rate_argument(found.thing)
    options = schedule_options(found.thing, config.num_updates)
    chosen = _choose(found, options, spec, known=argument)
    with noting("in the schedule"):
        found.thing(**chosen, **{argument: rate})
    return Spec(found.name, chosen), lambda rate: found.thing(**chosen, **{argument: rate})


def _as_it_is(what: str, found: Found, spec: Spec) -> Spec:
    if spec.options:
        raise ConfigError(
            f"{found.name} is a ready {what}, and takes no options, got {', '.join(spec.options)}"
        )
    return Spec(found.name)


def _choose(
    found: Found, options: Sequence[Option], spec: Spec, known: str | None = None
) -> dict[str, Any]:
    """The values of all options, as data: those that are given, and defaults for the others.

    `known` is an argument that is given otherwise.
    """
    legal = _arguments(found.thing)
    by_name = {option.name: option for option in options}
    chosen = {o.name: o.default for o in options if o.default is not REQUIRED}
    for name, value in spec.options.items():
        if legal is not None and name not in legal:
            raise ConfigError(f"{found.name} has no option {name!r}{suggest(name, legal)}")
        option = by_name.get(name)
        if option is None or _is_object(value):
            chosen[name] = value
        elif value != option.default or type(value) is not type(option.default):
            chosen[name] = convert(name, value, option.kind)
    missing = sorted(set(missing_arguments(found.thing, [])) - {*chosen, known})
    if missing:
        raise ConfigError(
            f"{spec.name} needs {', '.join(missing)}, which the command line cannot give: make an "
            "instance in a file and name that, file.py:INSTANCE"
        )
    return chosen


def _construct(found: Found, chosen: dict[str, Any], start: Path, doing: str) -> tuple[Spec, Any]:
    """An object of these options, of which those that are objects are made first."""
    plain, made = {}, {}
    for name, value in chosen.items():
        what = name if name in PARTS else "object"
        if name in PARTS and isinstance(value, str):
            value = Spec(value)
        if _is_object(value):
            spec = value if isinstance(value, Spec) else Spec(**value)
            spec, made[name] = make_object(what, spec, start)
            plain[name] = msgspec.to_builtins(spec)
        else:
            plain[name] = made[name] = value
    with noting(doing):
        return Spec(found.name, plain), found.thing(**made)


def convert(name: str, value: Any, kind: Any) -> Any:
    """A value as a constructor takes it; raises `ConfigError` for one of another kind."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        shown = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        raise ConfigError(f"{name} must be {shown}, got {value!r}") from None


def _is_object(value: Any) -> bool:
    return isinstance(value, Spec) or is_spec(value)


def _arguments(function: Callable[..., Any]) -> list[str] | None:
    """The names of what it takes; `None` if it takes any."""
    made = function.__init__ if isinstance(function, type) else function
    parameters = inspect.signature(made).parameters.values()
    if any(x.kind is x.VAR_KEYWORD for x in parameters):
        return None
    return [x.name for x in parameters if x.name != "self"]
