"""Tuning a learning rate and its decay: what the experiments about it share."""

import functools as ft
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np
import optax

from .... import NRES, PES, TruncatedES
from ...._counts import check_fields
from ....problems.schedules import AbstractObjective, InverseTime, Model, ModelTraining
from ....records import Details, Marker
from ....records.chart import Scale
from ....records.files import as_array
from ...base import AbstractExperiment, Entry, EvaluationPlan, adam
from ...losses import surface
from ...prose import prose
from ..as_published import as_published
from ..classifier import Images, accuracy, cross_entropy, init_network, load_images

_SIGMA = 0.1
_WINDOWS = (10, 100)
_GRID_EPISODES = 2


def make_optimizer(learning_rate):
    """Gradient descent with momentum and next to no weight decay, as published."""
    return optax.chain(optax.add_decayed_weights(1e-10), optax.sgd(learning_rate, momentum=0.9))


@dataclass(frozen=True)
class AbstractDecayExperiment(AbstractExperiment):
    """A learning rate with inverse-time decay, tuned for an objective."""

    objective: ClassVar[AbstractObjective]
    objective_text: ClassVar[str]
    metric: ClassVar[str]
    metric_scale: ClassVar[Scale]

    source: ClassVar[str] = "Vicol et al. (2021), arXiv 2112.13835"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log decay", "log first rate")

    seeds: int = 3
    num_updates: int = 1200
    images: Images = "digits"
    data_dir: str | None = None
    hidden: tuple[int, ...] = (32, 32)
    batch_size: int = 32
    horizon: int = 1000
    num_workers: int = 20

    def __post_init__(self):
        check_fields(self)

    @classmethod
    def at_paper_size(cls) -> "AbstractDecayExperiment":
        """The published settings: MNIST, 5000 steps, 500 pairs; a matter for an accelerator."""
        return cls(
            num_updates=5000,
            images="mnist",
            hidden=(100, 100),
            batch_size=100,
            horizon=5000,
            num_workers=500,
        )

    @property
    def problem(self) -> ModelTraining:
        """The training run whose learning rate is tuned."""
        data = load_images(self.images, self.data_dir, self.batch_size)
        sizes = (data.train[0].shape[1], *self.hidden, 10)
        model = Model(ft.partial(init_network, sizes), cross_entropy, accuracy)
        space = {"learning_rate": InverseTime(0.003, 30.0)}
        return ModelTraining(
            model=model,
            data=data,
            make_optimizer=make_optimizer,
            space=space,
            horizon=self.horizon,
            objective=self.objective,
        )

    def entries(self) -> tuple[Entry, ...]:
        short, long = _WINDOWS
        return (
            self._entry(f"NRES {short}", NRES(self.num_workers, short, sigma=_SIGMA)),
            self._entry(f"PES {short}", PES(self.num_workers, short, sigma=_SIGMA)),
            self._entry(f"PES {long}", PES(self._few, long, sigma=_SIGMA)),
            self._entry(f"TES {short}", TruncatedES(self.num_workers, short, sigma=_SIGMA)),
            self._entry(f"TES {long}", TruncatedES(self._few, long, sigma=_SIGMA)),
        )

    @property
    def _few(self) -> int:
        """Pairs with long windows, which cost ten times as much."""
        return -(-self.num_workers // 4) if self.images == "digits" else self.num_workers

    def _entry(self, label, estimator) -> Entry:
        every, problem = max(1, self.num_updates // 20), self.problem
        evaluation = EvaluationPlan(problem, every, num_episodes=10)
        return Entry(
            label, problem, as_published(estimator), adam(1e-2), self.num_updates, every, evaluation
        )

    def details(self):
        decays, rates = (
            np.log(10) * np.linspace(-2.2, 2.2, 19),
            np.log(10) * np.linspace(-3, -0.25, 19),
        )
        grid = surface(self.problem, decays, rates, np.zeros((1, 2)), self.metric, _GRID_EPISODES)
        loss = as_array(grid.loss)
        row, column = np.unravel_index(np.nanargmin(loss), loss.shape)
        best = Marker("least on the grid", [decays[column], rates[row]])
        return Details(
            description=prose(
                __name__,
                hidden=" and ".join(map(str, self.hidden)),
                images=self.images,
                horizon=self.horizon,
                objective=self.objective_text,
                num_workers=self.num_workers,
                few=self._few,
                num_updates=self.num_updates,
            ),
            metric=self.metric,
            metric_scale=self.metric_scale,
            surface=msgspec.structs.replace(grid, scale=self.metric_scale),
            markers=[best],
        )
