"""The variance of a gradient against the number of unrolls that an episode is cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from ... import BPTT, PES, ESSingle, PESAnalytic
from ..._counts import check_fields
from ..._custom_types import RandomKey
from ..._random import seeded_key
from ...extend import AbstractPerturbed
from ...problems import CharacterLSTM
from ...problems.character_lstm import GETTYSBURG
from ...records import Chart, Details, Series
from ..base import AbstractExperiment, Measurement
from ..prose import prose
from .as_published import as_published
from .variance import Linearization, measured_series, window_estimates

_SIGMA = 1e-3
_PARAMS_SEED = 42
_NUM_SEQUENCES = 3
_ESTIMATORS = {"PES": PES, "PES+Analytic": PESAnalytic, "ESSingle": ESSingle}


@dataclass(frozen=True)
class UnrollVarianceExperiment(AbstractExperiment):
    r"""The variance of PES against the number of unrolls, without any training.

    $$ \mathrm{mean} \lVert g - \hat g \rVert^2 / \lVert g \rVert^2 $$

    The setting of Vicol et al. (2021), arXiv 2112.13835: an LSTM with 5 units at its initial
    parameters, which reads a text, random characters, or one character again and again.

    **Arguments:**

    - `seeds`: number of repeats; 50 in the publication.
    - `horizon`: characters read.
    - `num_particles`: particles of an estimator, an even number; 1000 in the publication.
    - `text`: a text file in UTF-8, of which the first characters are read; by default Lincoln's
      address at Gettysburg.
    """

    name: ClassVar[str] = "unroll-variance"
    title: ClassVar[str] = "The variance of a gradient against the number of unrolls"
    source: ClassVar[str] = "Vicol et al. (2021), arXiv 2112.13835"
    references: ClassVar[tuple[str, ...]] = ("vicol2021", "vicol2023")
    parameter_names: ClassVar[tuple[str, ...]] = ()

    seeds: int = 20
    horizon: int = 1000
    num_particles: int = 40
    text: str | None = None

    def __post_init__(self):
        check_fields(self)
        if self.num_particles % 2:
            raise ValueError(
                f"num_particles must be even, got {self.num_particles}; "
                f"the nearest legal value is {self.num_particles + 1}"
            )
        if self.horizon >= (length := len(self._read())):
            raise ValueError(
                f"horizon must be less than the number of characters of the text, {length}, "
                f"got {self.horizon}; the nearest legal value is {length - 1}"
            )

    @classmethod
    def at_paper_size(cls) -> "UnrollVarianceExperiment":
        """The published numbers of particles and repeats, a matter of half an hour."""
        return cls(seeds=50, num_particles=1000)

    def entries(self):
        return ()

    @property
    def windows(self) -> tuple[int, ...]:
        """The windows 1, 2, 5, 10, ... that divide the horizon, and the horizon."""
        series = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]
        return (*(K for K in series if K < self.horizon and self.horizon % K == 0), self.horizon)

    def problems(self) -> dict[str, CharacterLSTM]:
        """The three sequences, over the same vocabulary."""
        text, count = self._read(), self.horizon + 1
        vocabulary = "".join(sorted(set(text)))
        drawn = np.random.default_rng(0).integers(len(vocabulary), size=count)
        sequences = {
            "English" if self.text is None else "The text": text[:count],
            "Random characters": "".join(vocabulary[index] for index in drawn),
            "One character repeated": text[0] * count,
        }
        return {name: CharacterLSTM(found, vocabulary) for name, found in sequences.items()}

    def _read(self) -> str:
        if self.text is None:
            return GETTYSBURG
        if not Path(self.text).is_file():
            raise ValueError(f"text names a file that is not there: {self.text}")
        return Path(self.text).read_text(encoding="utf-8")

    def measurements(self) -> tuple[Measurement, ...]:
        return tuple(self._measurement(label, window) for label, window in self._cases())

    def _cases(self) -> Iterator[tuple[str, int]]:
        """The measured labels and windows: few for `ESSingle`, which is the same for all."""
        for label in _ESTIMATORS:
            windows = self.windows if label != "ESSingle" else self.windows[::3]
            # Without noise there is nothing to measure.
            yield from (
                (label, window)
                for window in windows
                if label != "PES+Analytic" or window < self.horizon
            )

    def _measurement(self, label: str, window: int) -> Measurement:
        of_label = _ESTIMATORS[label](self.num_particles // 2, window, sigma=_SIGMA)
        estimator = as_published(of_label)
        steps = _NUM_SEQUENCES * estimator.plan(self.horizon).num_steps * (self.horizon // window)

        def measure(key: RandomKey, _) -> tuple[list[float], float]:
            return self._measure(estimator, key)

        return Measurement(_name(label, window), steps, measure)

    def _measure(self, estimator: AbstractPerturbed, key: RandomKey) -> tuple[list[float], float]:
        """The squared error relative to the gradient for each sequence, and the mean loss."""
        errors, losses = [], []
        for problem in self.problems().values():
            params = _params(problem)
            exact = _exact(problem, params)
            found, loss = window_estimates(problem, estimator, params, jax.random.split(key, 1))
            total = np.asarray(found[0], np.float64).sum(axis=0)
            errors.append(float(np.sum((total - exact) ** 2) / np.sum(exact**2)))
            losses.append(float(loss[0]))
        return errors, float(np.mean(losses))

    def details(self):
        (problem, *_) = self.problems().values()
        num_params = sum(leaf.size for leaf in jax.tree.leaves(_params(problem)))
        pairs = self.num_particles // 2
        values = {"horizon": self.horizon, "num_params": num_params, "pairs": pairs}
        return Details(description=prose(__name__, **values))

    def measured_charts(self, measured):
        return [
            self._chart(name, problem, index, measured)
            for index, (name, problem) in enumerate(self.problems().items())
        ]

    def _chart(self, name: str, problem: CharacterLSTM, index: int, measured) -> Chart:
        steps = Linearization.of(problem, _params(problem))
        closed = {window: steps.joined(window).relative_variances() for window in self.windows}
        pairs, series = self.num_particles // 2, []
        for label in _ESTIMATORS:
            shown = [K for K in reversed(self.windows) if closed[K][label] > 0]
            unrolls, line = [self.horizon // K for K in shown], [closed[K][label] for K in shown]
            series.append(Series.line(label, unrolls, line))
            if windows := [K for K in shown if _name(label, K) in measured]:
                found = [measured[_name(label, K)] for K in windows]
                count = min(len(values) for values in found)
                values = np.stack([values[:count, index] for values in found], axis=1)
                x = self.horizon / np.array(windows)
                series += measured_series(label, x, pairs * values)
        return Chart(
            title=name,
            x_label="unrolls of an episode",
            y_label="variance of one pair, relative",
            x_scale="log",
            y_scale="log",
            note=prose(__name__, "figure", seeds=self.seeds),
            series=series,
        )


def _name(label: str, window: int) -> str:
    return f"{label} window {window}"


def _params(problem: CharacterLSTM):
    return problem.init_params(key=seeded_key(_PARAMS_SEED))


def _exact(problem: CharacterLSTM, params) -> np.ndarray:
    """The gradient of the total loss by reverse mode."""
    reverse = BPTT(1)
    found, _ = reverse.estimate(problem, params, reverse.init(problem, params, key=seeded_key(0)))
    return problem.horizon * np.asarray(ravel_pytree(found.grad)[0], np.float64)
