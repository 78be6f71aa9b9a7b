"""The runs of a comparison, planned from its settings before any of them begins."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..._config.build import Training, build_training, estimator_options, takes_learning_rate
from ..._config.compare_config import CompareConfig
from ..._config.describe_run import fingerprints
from ..._config.errors import ConfigError
from ..._config.names import find
from ..._config.options import find_options
from ..._config.train_config import AbstractConfig, Spec, TrainConfig, is_spec
from ..._counts import LARGEST
from ..layout import run_directory

_DEFAULT_UPDATES = 1000
_RECORDS, _EVALUATIONS = 100, 20
_UPDATES_OF_RECORD = 10
"""Updates between records where nobody knows how many there will be."""

LIMITS = "num_updates", "seconds", "patience", "target_loss"
"""Settings that end a run, which may be others when it goes on."""

_KEPT = *LIMITS, "checkpoint_every", "log"


@dataclass(frozen=True)
class Planned:
    """A run of a comparison.

    - `estimator`: the label of its estimator.
    - `learning_rate`: that of the grid, if there is one.
    - `config`: its settings, every option named.
    - `kept`: settings of which a run keeps its own when it goes on.
    - `fingerprints`: digests of the user's files.
    - `path`: its directory.
    - `cost`: its length in problem steps, warm-up included; in microseconds if it has `seconds`.
    """

    estimator: str
    learning_rate: float | None
    config: TrainConfig
    kept: tuple[str, ...]
    fingerprints: dict[str, str]
    path: Path
    cost: int

    @property
    def label(self) -> str:
        return self.config.label or self.estimator


def plan_selection(config: CompareConfig, directory: Path, start: Path) -> list[Planned]:
    """The runs that learning rates are chosen by: every estimator with every rate."""
    planned = []
    config = msgspec.structs.replace(config, log=())
    for estimator in config.estimators if config.selection_seed_values else ():
        num_updates = _count_updates(config, estimator, start)
        for rate in config.learning_rates:
            label = f"{estimator} {rate!r}"
            group = _Group(config, estimator, label, rate, num_updates)
            planned += group.plan(config.selection_seed_values, directory, start)
    return planned


def plan_shown(
    config: CompareConfig, rates: dict[str, float], directory: Path, start: Path
) -> list[Planned]:
    """The runs that are shown: every estimator with its learning rate, if it has one."""
    planned = []
    for estimator in config.estimators:
        num_updates = _count_updates(config, estimator, start)
        rate = rates.get(estimator)
        group = _Group(config, estimator, estimator, rate, num_updates)
        planned += group.plan(config.seed_values, directory, start)
    return planned


def writable(config: CompareConfig, start: Path) -> CompareConfig:
    """The settings without options that are `None` by default, which TOML cannot hold."""
    trim = lambda what, spec: spec if spec is None else _trim(what, spec, start)
    return msgspec.structs.replace(
        config,
        problem=trim("problem", config.problem),
        estimators={k: trim("estimator", spec) for k, spec in config.estimators.items()},
        optimizer=trim("optimizer", config.optimizer),
        schedule=trim("schedule", config.schedule),
    )


@dataclass(frozen=True)
class _Group:
    """The runs of an estimator with one learning rate, which differ in their seeds."""

    config: CompareConfig
    estimator: str
    label: str
    rate: float | None
    num_updates: int

    def plan(self, seeds: Iterable[int], directory: Path, start: Path) -> list[Planned]:
        config = self.config
        training = _build(config, self.estimator, start, self.rate, **self._pace())
        paces = [name for name in ("log_every", "evaluate_every") if getattr(config, name) is None]
        cost = _cost(training) if config.seconds is None else int(1e6 * config.seconds)
        digests = fingerprints(training)
        return [
            Planned(
                estimator=self.estimator,
                learning_rate=training.config.optimizer.options.get("learning_rate"),
                config=msgspec.structs.replace(training.config, seed=seed, label=self.label),
                kept=(*_KEPT, *paces),
                fingerprints=digests,
                path=run_directory(directory, self.label, seed),
                cost=cost,
            )
            for seed in seeds
        ]

    def _pace(self) -> dict[str, Any]:
        """How many updates there are, and how many of them between records and evaluations."""
        part = lambda count: max(1, self.num_updates // count)
        is_timed = self.num_updates == LARGEST
        log_every = _UPDATES_OF_RECORD if is_timed else part(_RECORDS)
        evaluate_every = None if is_timed else part(_EVALUATIONS)
        return {
            "num_updates": self.num_updates,
            "log_every": self.config.log_every or log_every,
            "evaluate_every": self.config.evaluate_every or evaluate_every,
        }


def _build(
    config: CompareConfig, estimator: str, start: Path, rate: float | None, **settings: Any
) -> Training:
    """The objects of a training of an estimator."""
    common = {name: getattr(config, name) for name in AbstractConfig.__struct_fields__}
    if rate is not None:
        name = config.optimizer.name
        if not takes_learning_rate(find("optimizer", name, start)):
            raise ConfigError(f"{name} takes no learning rate: leave out learning_rates")
        common["optimizer"] = Spec(name, config.optimizer.options | {"learning_rate": rate})
    spec = config.estimators[estimator]
    return build_training(TrainConfig(estimator=spec, **common | settings), start)


def _count_updates(config: CompareConfig, estimator: str, start: Path) -> int:
    """The updates after which a run ends, whatever its seed and its learning rate."""
    limits = [] if config.num_updates is None else [config.num_updates]
    if config.num_steps is not None:
        training = _build(config, estimator, start, None)
        each = _cost(training, 2) - _cost(training, 1)
        first = _cost(training, 1)
        if config.num_steps < first:
            raise ConfigError(
                f"num_steps must be at least {first}, for an update of {estimator}, got "
                f"{config.num_steps}"
            )
        limits.append(1 + (config.num_steps - first) // each)
    if limits:
        return min(*limits, LARGEST)
    if config.seconds is None:
        return _DEFAULT_UPDATES
    if config.schedule is not None:
        raise ConfigError(
            "a schedule spans a number of updates, which `seconds` alone does not give: add "
            "num_updates or num_steps, or leave out the schedule"
        )
    return LARGEST


def _cost(training: Training, num_updates: int | None = None) -> int:
    """The problem steps of a training up to an update, those before the first included."""
    plan = training.estimator.plan(training.joint.horizon)
    num_updates = training.config.num_updates if num_updates is None else num_updates
    windows = num_updates + plan.num_warmup_windows
    return len(training.joint.engines) * windows * plan.num_steps


def _trim(what: str, spec: Spec, start: Path) -> Spec:
    found = find(what, spec.name, start)
    of = estimator_options if what == "estimator" else find_options
    options = of(found.thing) if found.takes_options else []
    open_by_default = {option.name for option in options if option.default is None}

    def trim(name: str, value: Any) -> Any:
        if isinstance(value, Spec) or is_spec(value):
            own = value if isinstance(value, Spec) else Spec(**value)
            return _trim("directions" if name == "directions" else "object", own, start)
        return value

    kept = {k: v for k, v in spec.options.items() if v is not None or k not in open_by_default}
    return Spec(spec.name, {name: trim(name, value) for name, value in kept.items()})
