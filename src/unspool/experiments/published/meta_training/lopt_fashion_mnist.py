"""A learned optimizer for a small network: the published comparison on Fashion-MNIST."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from .... import GPES, NRES, PES, TBPTT, FullES, TruncatedES, data
from ....problems.learned_optimizer import MLP, OptimizerTraining, image_task
from ....records import Details, Expectation
from ...base import Entry, Optimizer, sgd
from ...prose import prose
from .meta_training import SIGMA, AbstractMetaTraining, published_adam

_SIDE = 8
_PERIODS = {"digits": (8, 32, 128), "fashion-mnist": (4, 16, 64, 256)}
# Adam's rates, for TBPTT that of gradient descent.
_RATES = {
    "digits": {"NRES": 3e-3, "TES": 3e-3, "FullES": 0.1, "TBPTT": 1.0},
    "fashion-mnist": {"NRES": 3e-4, "TES": 1e-3, "FullES": 3e-2, "TBPTT": 1e-2},
}


@dataclass(frozen=True)
class LoptFashionMnistExperiment(AbstractMetaTraining):
    """Meta-training a learned optimizer for a small network, with one estimator after the other.

    The experiment of Li et al. (2023), arXiv 2304.12180; by default a smaller one on the digits
    that scikit-learn brings.

    **Arguments:**

    - `seeds`: number of seeds; the first five are the published ones.
    - `data_dir`: where files of images are looked for first.
    - `num_steps`: problem steps of a method, warming up included; on digits TBPTT has a tenth.
    - `horizon`: steps of an inner run.
    - `num_workers`: antithetic pairs, but for FullES, which has 10; on digits TBPTT has a fifth.
    - `window`: steps of a window, which must divide the horizon.
    - `batch_size`: images in a batch.
    - `images`: `digits`, or `fashion-mnist`.
    - `hidden`: units of each hidden layer of the inner network.
    """

    name: ClassVar[str] = "lopt-fashion-mnist"
    title: ClassVar[str] = "A learned optimizer for a small network"
    published_seeds: ClassVar[tuple[int, ...]] = (53, 59, 61, 67, 71)
    sequence_seed: ClassVar[int] = 88
    init_seed: ClassVar[int] = 2

    images: Literal["digits", "fashion-mnist"] = "digits"
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def at_paper_size(cls) -> "LoptFashionMnistExperiment":
        """The published settings; a matter for an accelerator, with days on two cores."""
        return cls(
            num_steps=50_000_000,
            horizon=1000,
            num_workers=100,
            window=1,
            images="fashion-mnist",
            hidden=(32, 32, 32),
            batch_size=128,
        )

    @property
    def problem(self) -> OptimizerTraining:
        if self.images == "digits":
            images = self.digits()
        else:
            images = data.resize(data.fashion_mnist(self.data_dir).train, _SIDE)
        network = MLP((_SIDE * _SIDE, *self.hidden, 10))
        return self.meta_training(image_task(images, network, self.batch_size))

    @property
    def periods(self) -> dict[str, int]:
        between = (K for K in _PERIODS[self.images] if self.window < K < self.horizon)
        between = {f"GPES {K}": K for K in between if K % self.window == 0}
        return {"PES": self.window} | between | {"NRES": self.horizon}

    def entries(self) -> tuple[Entry, ...]:
        problem, rates = self.problem, _RATES[self.images]
        N, W, adam = self.num_workers, self.window, published_adam(rates["NRES"])
        between = [label for label in self.periods if label.startswith("GPES")]
        return (
            self.meta_entry("NRES", problem, NRES(N, W, sigma=SIGMA), adam),
            self.meta_entry("PES", problem, PES(N, W, sigma=SIGMA), adam),
            *(
                self.meta_entry(label, problem, GPES(N, W, self.periods[label], sigma=SIGMA), adam)
                for label in between
            ),
            self.meta_entry(
                "FullES", problem, FullES(10, sigma=SIGMA), published_adam(rates["FullES"])
            ),
            self.meta_entry(
                "TES", problem, TruncatedES(N, W, sigma=SIGMA), published_adam(rates["TES"])
            ),
            self._reverse(problem, sgd(rates["TBPTT"])),
        )

    def _reverse(self, problem: OptimizerTraining, optimizer: Optimizer) -> Entry:
        """TBPTT, which makes its batches of windows smaller rather than its updates fewer."""
        few, part = self.num_workers, self.num_steps
        if self.images == "digits":
            few, part = -(-few // 5), -(-part // 10)
        return self.meta_entry("TBPTT", problem, TBPTT(few, self.window), optimizer, part)

    def details(self):
        published = self.images == "fashion-mnist"
        return Details(
            description=prose(
                __name__,
                num_params=self.num_params,
                hidden=", ".join(map(str, self.hidden)),
                images=self.images,
                horizon=self.horizon,
                num_workers=self.num_workers,
                window=self.window,
                num_steps=self.num_steps,
            ),
            metric="meta-loss",
            metric_scale="log",
            thresholds=[0.610] if published else [1.0, 0.5, 0.25],
            expected=_expected() if published else [],
        )


def _expected():
    """The updates after which the publication's means over five seeds are at 0.610."""
    note = "half to twice the published mean"
    updates = {"NRES": 20_000, "PES": 99_000, "FullES": 2500}
    return [Expectation(label, 0.610, n // 2, 2 * n, note) for label, n in updates.items()]
