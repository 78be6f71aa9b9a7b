"""The strength of an L2 penalty, whose best value is known in closed form."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from ... import NRES, PES, RTRL, ESSingle, TruncatedES
from ... import data as loaders
from ..._counts import check_fields
from ..._wrapper import AbstractWrapper
from ...problems.schedules import Constant, Data, Model, ModelTraining, ValidLoss
from ...records import Chart, Claim, Details, Marker, Series
from ..base import AbstractExperiment, Entry, EvaluationPlan, adam
from ..prose import prose
from .as_published import as_published

_SIGMA = 0.01
_RATE = 3e-3
_STARTS = (-5.0, 5.0)


class Ridge(NamedTuple):
    """A linear regression with a penalty: examples to train on and held out."""

    train: loaders.Dataset
    valid: loaders.Dataset

    def weights(self, theta: float) -> Float[np.ndarray, " features"]:
        """The weights that training converges to with the penalty `exp(theta)`."""
        x, y = self.train
        return np.linalg.solve(x.T @ x + math.exp(theta) * np.eye(x.shape[1]), x.T @ y)

    def endless_loss(self, theta: float) -> float:
        """The validation loss of those weights."""
        x, y = self.valid
        return 0.5 * float(np.sum((x @ self.weights(theta) - y) ** 2))

    def mean_loss(self, theta: float, horizon: int) -> float:
        """The expected validation loss after a step, averaged over a run from normal weights."""
        curvatures, axes = np.linalg.eigh(self.train.inputs.T @ self.train.inputs)
        kept = (1 - _RATE * (curvatures + math.exp(theta))) ** np.arange(1, horizon + 1)[:, None]
        mean = (axes.T @ self.weights(theta)) * (1 - kept)
        x = self.valid.inputs @ axes
        squares = np.sum((mean @ x.T - self.valid.targets) ** 2, axis=1)
        return 0.5 * float(np.mean(squares + kept**2 @ np.sum(x**2, axis=0)))

    def optimum(self, horizon: int | None) -> float:
        """The best theta for an endless run, or for runs of so many steps."""
        loss = self.endless_loss if horizon is None else lambda x: self.mean_loss(x, horizon)
        found: Any = minimize_scalar(loss, bounds=_STARTS, method="bounded")
        return float(found.x)

    def problem(self, horizon: int) -> ModelTraining:
        """The training, whose only hyperparameter is the penalty."""
        size = self.train.inputs.shape[1]
        model = Model(
            lambda key: jax.random.normal(key, (size,)),
            lambda weights, batch, l2: _squares(weights, batch) + l2 * jnp.sum(weights**2) / 2,
            space={"l2": Constant(1.0)},
            valid_loss=lambda weights, batch, l2: _squares(weights, batch),
        )
        examples = Data(tuple(self.train), tuple(self.valid))
        return ModelTraining(
            model=model,
            data=examples,
            make_optimizer=_descend,
            space={},
            horizon=horizon,
            objective=ValidLoss(),
        )


class StartAnywhere(AbstractWrapper):
    """The tuning of a penalty from a random start."""

    training: ModelTraining

    def __init__(self, training: ModelTraining):
        self.training = training

    @property
    def inner(self) -> ModelTraining:
        return self.training

    def init_params(self, *, key):
        return {"l2": jax.random.uniform(key, (), minval=_STARTS[0], maxval=_STARTS[1])}


@dataclass(frozen=True)
class RidgeExperiment(AbstractExperiment):
    """The strength of an L2 penalty, tuned for the validation loss of a linear model.

    The experiment of Vicol et al. (2021), arXiv 2112.13835, on the diabetes data that scikit-learn
    brings, or on a CSV file. The optimum is known in closed form.

    **Arguments:**

    - `seeds`: number of seeds, each with a start of its own.
    - `num_updates`: updates of every method.
    - `horizon`: steps of a training run.
    - `num_train`: examples to train on; the others, 200 at most, are held out.
    - `data`: a CSV file with a header; by default the diabetes data.
    - `target`: the column of the file that is to be predicted.
    """

    name: ClassVar[str] = "ridge"
    title: ClassVar[str] = "The strength of an L2 penalty, known in closed form"
    source: ClassVar[str] = "Vicol et al. (2021), arXiv 2112.13835"
    references: ClassVar[tuple[str, ...]] = ("vicol2021",)
    parameter_names: ClassVar[tuple[str, ...]] = ("log penalty",)

    seeds: int = 5
    num_updates: int = 10_000
    horizon: int = 3000
    num_train: int = 100
    data: str | None = None
    target: str | None = None

    def __post_init__(self):
        check_fields(self)
        if (self.data is None) != (self.target is None):
            raise ValueError("data and target must be given together")

    @classmethod
    def at_paper_size(cls) -> "RidgeExperiment":
        """The published number of updates."""
        return cls(num_updates=50_000)

    @property
    def ridge(self) -> Ridge:
        """The regression, standardized by what is trained on."""
        if self.data is None or self.target is None:
            whole = loaders.diabetes()
        else:
            whole = loaders.csv(self.data, self.target)
        count = min(200, len(whole.inputs) - self.num_train)
        if count < 1:
            raise ValueError(
                f"num_train must leave examples to hold out, got {self.num_train} of "
                f"{len(whole.inputs)}"
            )
        train, valid = loaders.standardize(*loaders.split(whole, self.num_train, count))
        mean, scale = train.targets.mean(), train.targets.std()
        train, valid = (x._replace(targets=(x.targets - mean) / scale) for x in (train, valid))
        return Ridge(train, valid)

    def entries(self) -> tuple[Entry, ...]:
        return (
            self._entry("RTRL", RTRL(1, 1)),
            self._entry("NRES", NRES(2, 1, sigma=_SIGMA)),
            self._entry("ESSingle", ESSingle(2, 1, sigma=_SIGMA)),
            self._entry("PES", PES(2, 1, sigma=_SIGMA)),
            self._entry("TES", TruncatedES(2, 1, sigma=_SIGMA)),
        )

    def _entry(self, label, estimator) -> Entry:
        every = max(1, self.num_updates // 20)
        problem = StartAnywhere(self.ridge.problem(self.horizon))
        evaluation = EvaluationPlan(problem, every, num_episodes=20)
        optimizer = adam(3e-3)
        return Entry(
            label, problem, as_published(estimator), optimizer, self.num_updates, every, evaluation
        )

    def details(self):
        ridge = self.ridge
        endless, finite = ridge.optimum(None), ridge.optimum(self.horizon)
        return Details(
            description=prose(
                __name__,
                num_train=self.num_train,
                name="the diabetes patients" if self.data is None else self.data,
                num_valid=len(ridge.valid.targets),
                rate=_RATE,
                horizon=self.horizon,
                num_updates=self.num_updates,
                endless=endless,
                finite=finite,
            ),
            metric="mean validation loss",
            metric_scale="log",
            markers=[
                Marker("optimum", [finite]),
                Marker("optimum of an endless run", [endless]),
            ],
            claims=_claims(finite),
        )

    def charts(self, traces):
        ridge, theta = self.ridge, np.linspace(*_STARTS, 201)
        losses = [ridge.mean_loss(x, self.horizon) for x in theta]
        series = [Series.line("closed form", np.exp(theta), losses)]
        for label, found in traces.items():
            ends = [float(t.params[-1, 0]) for t in found]
            ends = [end for end in ends if _STARTS[0] <= end <= _STARTS[1]]
            y = [ridge.mean_loss(x, self.horizon) for x in ends]
            series.append(Series.points(label, np.exp(ends), y))
        return [
            Chart(
                title="Where the penalty ends on the loss in closed form",
                x_label="penalty",
                x_scale="log",
                y_label="mean validation loss",
                note="A point for each seed; those outside of the region are not drawn.",
                series=[s for s in series if s.x],
            )
        ]


def _squares(weights, batch):
    inputs, targets = batch
    return jnp.sum((inputs @ weights - targets) ** 2) / 2


def _descend() -> optax.GradientTransformation:
    return optax.sgd(_RATE)


def _claims(optimum: float):
    near = "comes to the optimum; published: within 0.02, in a run without end"
    return [
        *(
            Claim(label, "parameter:0", optimum - 0.2, optimum + 0.2, near)
            for label in ("RTRL", "NRES", "ESSingle")
        ),
        Claim("PES", "parameter:0", optimum - 0.5, optimum + 0.5, "noisy; published: within 0.4"),
        Claim(
            "TES", "parameter:0", None, 0, "drifts off; published: to -12 to -17 in 37500 updates"
        ),
    ]
