"""Reading back what the trainings of an experiment have logged."""

from pathlib import Path

import numpy as np

from .._run import Run
from ..records.files import as_array
from .base import AbstractExperiment, Trace
from .layout import run_directory


def read_traces(experiment: AbstractExperiment, directory: Path) -> dict[str, tuple[Trace, ...]]:
    """The traces of each label, one for each seed that has logged any record."""
    found: dict[str, tuple[Trace, ...]] = {}
    for entry in experiment.entries():
        traces = []
        for seed in experiment.seed_values:
            path = run_directory(directory, entry.label, seed)
            if not (path / "config.json").exists():
                continue
            if (trace := _trace(Run.open(path), seed)) is not None:
                traces.append(trace)
        found[entry.label] = tuple(traces)
    return found


def _trace(run: Run, seed: int) -> Trace | None:
    """The trace of a run; None if it has not begun."""
    lines, judged = run.read_metrics(), run.read_evaluations()
    if not lines:
        return None
    return Trace(
        seed,
        updates=np.array([line.update for line in lines]),
        params=np.array([line.params for line in lines], dtype=float),
        steps=np.array([line.steps + line.warmup_steps for line in lines]),
        seconds=np.array([line.seconds for line in lines]),
        evaluated=np.array([line.update for line in judged]),
        losses=as_array([line.loss for line in judged]),
    )
