"""A learned optimizer against tuned ones on a task of the user's, as an experiment."""

import functools as ft
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .. import export
from .._custom_types import RandomKey
from .._describe import describe
from .._random import Purpose, seeded_key, stream
from ..experiments.base import AbstractExperiment, Measurement, Trace
from ..experiments.baselines import BASELINES, MOMENTUM, losses_while_training, measured_steps
from ..experiments.comparison import Comparison, Grid
from ..experiments.prose import prose
from ..problems.learned_optimizer import AbstractLearnedOptimizer, OptimizerTraining, Task
from ..records import Details
from .load_named import load_named

_LEARNED = "learned"


@dataclass(frozen=True)
class ApplyExperiment(AbstractExperiment):
    """The training of a model with a learned optimizer and with others.

    - `file`, `task`, `optimizer`, `start`: what to load, and from where.
    - `contents`: a fingerprint of the file and of the task.
    - `num_steps`: steps of a training run.
    """

    name: ClassVar[str] = "apply"
    source: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ()

    file: str
    task: str
    optimizer: str | None
    start: str
    contents: str
    num_steps: int
    seeds: int

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"{Path(self.file).name} on {self.task}"

    @property
    def _task(self) -> Task:
        return load_task(self.task, Path(self.start))

    @property
    def _learned(self) -> "Learned":
        return load_learned(self.file, self.optimizer, Path(self.start))

    def entries(self):
        return ()

    def details(self):
        description = prose(
            __name__,
            task=self.task,
            num_steps=self.num_steps,
            file=self.file,
            tried={label: rates for label, (_, rates) in BASELINES.items()},
            momentum=MOMENTUM,
            notes=self._learned.notes,
        )
        return Details(description=description)

    def measurements(self) -> tuple[Measurement, ...]:
        learned = Measurement(_LEARNED, self.num_steps, self._measure_learned)
        others = (
            Measurement(_name(label, rate), 2 * self.num_steps, measure)
            for label, (make, rates) in BASELINES.items()
            for rate in rates
            for measure in [ft.partial(self._measure, make, rate)]
        )
        return (learned, *others)

    def _measure_learned(self, key: RandomKey, _: Mapping[str, Trace]) -> tuple[list[float], float]:
        curve = self.curve(self._learned.make, 0.0, stream(key, Purpose.EVALUATION))
        return curve.tolist(), float(curve[-1])

    def _measure(
        self, make: Callable[..., Any], rate: float, key: RandomKey, _: Mapping[str, Trace]
    ) -> tuple[list[float], float]:
        """The final loss of a run that a rate is chosen on, and the curve of another."""
        selection = self.curve(make, rate, stream(key, Purpose.REFERENCE), only_end=True)
        curve = self.curve(make, rate, stream(key, Purpose.EVALUATION))
        return [float(selection[-1]), *curve.tolist()], float(curve[-1])

    def curve(
        self, make: Callable[..., Any], rate: float, key: RandomKey, only_end: bool = False
    ) -> np.ndarray:
        """The losses of a training run, as `losses_while_training`."""
        options = jnp.asarray(rate, float), key, jnp.asarray(only_end)
        return np.asarray(losses_while_training(self._task, make, self.num_steps, *options))

    def try_out(self) -> None:
        """Traces a run with the learned optimizer, so that errors show before any run begins."""
        options = jnp.asarray(0.0), seeded_key(0), jnp.asarray(False)
        run = ft.partial(losses_while_training, self._task, self._learned.make, self.num_steps)
        jax.eval_shape(run, *options)

    def compare(self, measured: Mapping[str, np.ndarray]) -> Comparison:
        """The comparison of the seeds that every optimizer has been measured with."""
        count = min(map(len, measured.values()))
        grids = {}
        for label, (_, rates) in BASELINES.items():
            found = np.stack([measured[_name(label, rate)][:count] for rate in rates])
            grids[label] = Grid(rates, found[:, :, 0], found[:, :, 1:])
        steps = np.append(0, measured_steps(self.num_steps))
        loss = "validation loss" if self._task.data.valid is not None else "training loss"
        return Comparison(steps, loss, measured[_LEARNED][:count], grids)

    def measured_charts(self, measured):
        return self.compare(measured).charts() if len(measured) == len(self.measurements()) else []


def _name(label: str, rate: float) -> str:
    return f"{label} {rate:g}"


class Learned(NamedTuple):
    """A learned optimizer as it was found in a file."""

    make: Callable[[Any], optax.GradientTransformation]
    notes: dict[str, Any]


@ft.lru_cache(maxsize=1)
def load_learned(file: str, optimizer: str | None, start: Path) -> Learned:
    """The optimizer of a file, of a class of the user's if one is named."""
    given = None if optimizer is None else load_named(optimizer, start, AbstractLearnedOptimizer)
    saved = export.read_optimizer(start / file, optimizer=given)
    transformation = export.as_optax(saved.optimizer, saved.params)
    return Learned(lambda rate: transformation, saved.notes)


@ft.lru_cache(maxsize=1)
def load_task(spec: str, start: Path) -> Task:
    """The task of that name in the user's file, or that of a meta-training."""
    found = load_named(spec, start, (Task, OptimizerTraining), only_instance=True)
    return found.task if isinstance(found, OptimizerTraining) else found


def fingerprint(file: str, spec: str, start: Path) -> str:
    """A digest of a learned optimizer's file, and of a task: its code and its data."""
    task, source = load_task(spec, start), spec.rpartition(":")[0]
    digest = hashlib.sha256((start / file).read_bytes())
    if source.endswith(".py"):
        digest.update((start / source).read_bytes())
    digest.update(json.dumps(describe(task)).encode())
    for array in jax.tree.leaves(eqx.filter(task, eqx.is_array)):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
