"""A learned optimizer against tuned ones on a task of the user's, as an experiment."""

import functools as ft
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ... import export
from ..._custom_types import RandomKey
from ..._describe import describe
from ..._random import Purpose, seeded_key, stream
from ...problems.learned_optimizer import Task
from ...records import Details
from ...records.files import without_place
from ..base import AbstractExperiment, Measurement, Trace
from ..baselines import BASELINES, MOMENTUM, losses_while_training, measured_steps
from ..optimizer_comparison import Grid, OptimizerComparison
from ..prose import prose

_LEARNED = "learned"


@dataclass(frozen=True)
class ApplyExperiment(AbstractExperiment):
    """The training of a model with a learned optimizer and with others.

    - `learned`: the optimizer, and `file`, where it was saved.
    - `task`: the model and its data, and `label`, their name on the page.
    - `num_steps`: steps of a training run.
    """

    name: ClassVar[str] = "apply"
    source: ClassVar[str] = ""
    references: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ()

    learned: export.SavedOptimizer
    file: Path
    task: Task
    label: str
    num_steps: int
    seeds: int

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return f"{self.file.name} on {without_place(self.label)}"

    @property
    def options(self) -> dict[str, Any]:
        return {"contents": self._fingerprint, "num_steps": self.num_steps}

    @ft.cached_property
    def _fingerprint(self) -> str:
        """A digest of the learned optimizer's file, and of the task: its code and its data."""
        digest = hashlib.sha256(self.file.read_bytes())
        for function in vars(self.task.model).values():
            if code := getattr(function, "__code__", None):
                source = Path(code.co_filename)
                digest.update(source.read_bytes() if source.is_file() else code.co_code)
        digest.update(json.dumps(describe(self.task)).encode())
        for array in jax.tree.leaves(eqx.filter(self.task, eqx.is_array)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @ft.cached_property
    def _make(self) -> Callable[[Any], Any]:
        transformation = export.as_optax(self.learned.optimizer, self.learned.params)
        return lambda rate: transformation

    def entries(self):
        return ()

    def details(self):
        description = prose(
            __name__,
            task=without_place(self.label),
            num_steps=self.num_steps,
            file=self.file.name,
            tried={label: rates for label, (_, rates) in BASELINES.items()},
            momentum=MOMENTUM,
            notes=self.learned.notes,
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
        curve = self.curve(self._make, 0.0, stream(key, Purpose.EVALUATION))
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
        return np.asarray(losses_while_training(self.task, make, self.num_steps, *options))

    def try_out(self) -> None:
        """Traces a run with the learned optimizer, so that errors show before any run begins."""
        options = jnp.asarray(0.0), seeded_key(0), jnp.asarray(False)
        run = ft.partial(losses_while_training, self.task, self._make, self.num_steps)
        jax.eval_shape(run, *options)

    def compare(self, measured: Mapping[str, np.ndarray]) -> OptimizerComparison:
        """The comparison of the seeds that every optimizer has been measured with."""
        count = min(map(len, measured.values()))
        grids = {}
        for label, (_, rates) in BASELINES.items():
            found = np.stack([measured[_name(label, rate)][:count] for rate in rates])
            grids[label] = Grid(rates, found[:, :, 0], found[:, :, 1:])
        steps = np.append(0, measured_steps(self.num_steps))
        loss = "validation loss" if self.task.data.valid is not None else "training loss"
        return OptimizerComparison(steps, loss, measured[_LEARNED][:count], grids)

    def measured_charts(self, measured):
        return self.compare(measured).charts() if len(measured) == len(self.measurements()) else []


def _name(label: str, rate: float) -> str:
    return f"{label} {rate:g}"
