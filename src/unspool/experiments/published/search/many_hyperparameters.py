"""Twenty-nine hyperparameters of one small network: tuned online, and searched for."""

import functools as ft
from dataclasses import dataclass
from typing import ClassVar

import optax

from .... import NRES, PES, TruncatedES
from ...._counts import check_fields
from ....problems.schedules import (
    Constant,
    Log,
    Logit,
    Model,
    ModelTraining,
    PerGroup,
    PerTensor,
    ValidLoss,
)
from ....records import Chart, Details
from ...base import AbstractEntry, AbstractExperiment, Entry, EvaluationPlan, adam
from ...prose import prose
from ..as_published import as_published
from ..classifier import Images, init_network, load_images
from ..incumbent import format_differences, format_final_losses, incumbent_curves
from .active_units import cross_entropy
from .search import Search
from .start_in_box import StartInBox
from .strategies import TPE, Hyperband, RandomSearch

_NUM_HIDDEN = 5
_TENSORS = tuple(
    f"{kind} {layer}" for layer in range(1, _NUM_HIDDEN + 2) for kind in ("biases", "weights")
)
_WINDOW, _NUM_PAIRS, _SIGMA = 10, 5, 0.3
_RATES, _MOMENTA, _ACTIVE = (1e-4, 1e-1), (0.01, 0.99), (0.2, 0.98)
_NUM_RECORDS, _NUM_EPISODES = 10, 5
_TRAININGS = {"NRES": NRES, "PES": PES, "TES": TruncatedES}
_STRATEGIES = {"random search": RandomSearch(), "TPE": TPE(), "Hyperband": Hyperband()}


@dataclass(frozen=True)
class ManyHyperparametersExperiment(AbstractExperiment):
    """Tuning 29 hyperparameters of one training run online, against searching for them.

    The setting of Vicol et al. (2021), arXiv 2112.13835: PES, NRES and truncated ES against random
    search, TPE and Hyperband, in one box and at equal numbers of steps.

    **Arguments:**

    - `seeds`: number of seeds.
    - `num_updates`: updates of NRES and PES; what they cost is what every method may spend.
    - `images`: `digits`, which scikit-learn brings, `mnist` or `fashion-mnist`.
    - `data_dir`: where files of images are looked for first.
    - `width`: units of each hidden layer.
    - `batch_size`: images in a batch.
    - `horizon`: steps of a training run.
    - `learning_rate`: rate of the Adam that updates the hyperparameters; 0.01 in the publication.
      The default is for its fewer updates, chosen of 0.01, 0.03 and 0.1 for NRES on other seeds.
    """

    name: ClassVar[str] = "many-hyperparameters"
    title: ClassVar[str] = "Many hyperparameters, tuned online and searched for"
    source: ClassVar[str] = "Vicol et al. (2021), arXiv 2112.13835"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)
    parameter_names: ClassVar[tuple[str, ...]] = (
        *(f"logit active {layer}" for layer in range(1, _NUM_HIDDEN + 1)),
        *(f"log rate {tensor}" for tensor in _TENSORS),
        *(f"logit momentum {tensor}" for tensor in _TENSORS),
    )

    seeds: int = 5
    num_updates: int = 2000
    images: Images = "digits"
    data_dir: str | None = None
    width: int = 32
    batch_size: int = 16
    horizon: int = 300
    learning_rate: float = 0.03

    def __post_init__(self):
        check_fields(self)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")

    @classmethod
    def at_paper_size(cls) -> "ManyHyperparametersExperiment":
        """The published settings and number of seeds; more than a day on two cores."""
        return cls(
            seeds=4,
            num_updates=50_000,
            images="fashion-mnist",
            width=100,
            batch_size=100,
            horizon=1000,
            learning_rate=1e-2,
        )

    @property
    def problem(self) -> StartInBox:
        """The training run whose hyperparameters are tuned, in its box."""
        data = load_images(self.images, self.data_dir, self.batch_size)
        sizes = (data.train[0].shape[1], *_NUM_HIDDEN * (self.width,), 10)
        active = PerGroup(_between(Logit, _ACTIVE), _NUM_HIDDEN)
        model = Model(ft.partial(init_network, sizes), cross_entropy, space={"active": active})
        space = {
            "learning_rate": PerTensor(_between(Log, _RATES)),
            "momentum": PerTensor(_between(Logit, _MOMENTA)),
        }
        training = ModelTraining(
            model=model,
            data=data,
            make_optimizer=optax.sgd,
            space=space,
            horizon=self.horizon,
            objective=ValidLoss(),
        )
        return StartInBox(training)

    @property
    def evaluation_cost(self) -> int:
        """Problem steps that a training is charged for one evaluation."""
        return _NUM_EPISODES * self.horizon

    @property
    def num_steps(self) -> int:
        """Problem steps that every method may spend: the cost of PES, evaluations included."""
        return (
            self._training_steps(PES, self.num_updates) + (_NUM_RECORDS + 1) * self.evaluation_cost
        )

    def _training_steps(self, make, num_updates: int) -> int:
        estimator = make(_NUM_PAIRS, _WINDOW, sigma=_SIGMA)
        windows = num_updates + estimator.plan(self.horizon).num_warmup_windows
        return windows * estimator.plan(self.horizon).num_steps

    def entries(self) -> tuple[AbstractEntry, ...]:
        problem = self.problem
        evaluation = EvaluationPlan(problem, every=1, num_episodes=_NUM_EPISODES)
        return (
            *(self._training(label, problem) for label in _TRAININGS),
            *(
                Search(label, problem, strategy, self.num_steps, _NUM_RECORDS, evaluation)
                for label, strategy in _STRATEGIES.items()
            ),
        )

    def _training(self, label: str, problem: StartInBox) -> Entry:
        make = _TRAININGS[label]
        left = (
            self.num_steps
            - (_NUM_RECORDS + 1) * self.evaluation_cost
            - self._training_steps(make, 0)
        )
        num_updates = max(
            1, left // (self._training_steps(make, 1) - self._training_steps(make, 0))
        )
        # Whole segments between records: a shorter last one would be compiled for itself.
        num_updates -= num_updates % _NUM_RECORDS if num_updates > _NUM_RECORDS else 0
        every = -(-num_updates // _NUM_RECORDS)
        estimator = make(_NUM_PAIRS, _WINDOW, sigma=_SIGMA)
        plan = EvaluationPlan(problem, every, num_episodes=_NUM_EPISODES)
        return Entry(
            label,
            problem,
            as_published(estimator),
            adam(self.learning_rate),
            num_updates,
            every,
            plan,
        )

    def details(self):
        return Details(
            description=prose(
                __name__,
                width=self.width,
                images=self.images,
                horizon=self.horizon,
                rate=self.learning_rate,
                rates=_RATES,
                momenta=_MOMENTA,
                active=_ACTIVE,
            ),
            metric="mean validation loss",
            metric_scale="linear",
        )

    def charts(self, traces):
        judged = {
            label: kept
            for label, found in traces.items()
            if (kept := tuple(trace for trace in found if len(trace.losses)))
        }
        evaluation_costs = {
            label: 0 if label in _STRATEGIES else self.evaluation_cost for label in judged
        }
        gaps = [
            format_differences(judged, label, [other for other in judged if other != label])
            for label in ("PES", "NRES")
        ]
        note = prose(
            __name__,
            "incumbent",
            episodes=_NUM_EPISODES,
            budget=self.num_steps,
            ends=format_final_losses(judged),
            gaps=[gap for gap in gaps if gap],
        )
        return [
            Chart(
                title="The incumbent, evaluation included",
                x_label="problem steps spent, evaluation included",
                y_label="mean validation loss",
                note=note,
                series=incumbent_curves(judged, evaluation_costs),
            )
        ]


def _between(transform: type[Log] | type[Logit], bounds: tuple[float, float]) -> Constant:
    """A constant between bounds; where it starts is up to the box."""
    low, high = bounds
    return Constant(start=low, transform=transform(low=low, high=high))
