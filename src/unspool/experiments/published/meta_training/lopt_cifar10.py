"""A learned optimizer for a convolutional network: the published comparison on CIFAR-10."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .... import NRES, PES, FullES, TruncatedES, data
from ....problems.learned_optimizer import CNN, MLP, AbstractNetwork, OptimizerTraining, image_task
from ....records import Details
from ...base import Entry
from ...prose import prose
from .meta_training import SIGMA, AbstractMetaTraining, published_adam

_DIGIT, _PHOTOGRAPH = (8, 8), (32, 32, 3)
_CLIP = 1.5 * math.log(10)
_SHORT, _SHORT_WORKERS = 4, 25
_RATES = {
    "digits": {"NRES": 3e-3, "TES": 3e-3, "FullES": 1e-2},
    "cifar-10": {"NRES": 3e-4, "TES": 1e-3, "FullES": 1e-3},
}


@dataclass(frozen=True)
class LoptCifar10Experiment(AbstractMetaTraining):
    """Meta-training a learned optimizer for a convolutional network, and for one of dense layers.

    The experiments of Li et al. (2023), arXiv 2304.12180, and of Vicol et al. (2021), arXiv
    2112.13835; by default smaller ones on the digits that scikit-learn brings.

    **Arguments:**

    - `seeds`: number of seeds; the first five are the published ones.
    - `data_dir`: where files of images are looked for first.
    - `num_steps`: problem steps of every method, warming up included.
    - `horizon`: steps of an inner run.
    - `num_workers`: antithetic pairs, but for FullES, which has 1, and for the MLP.
    - `window`: steps of a window, which must divide the horizon; for the MLP it is 4.
    - `batch_size`: images in a batch.
    - `images`: `digits`, or `cifar-10`.
    - `channels`: channels of each convolution.
    - `hidden`: units of each hidden layer of the MLP.
    """

    name: ClassVar[str] = "lopt-cifar10"
    title: ClassVar[str] = "A learned optimizer for a convolutional network"
    references: ClassVar[tuple[str, ...]] = ("li2023", "metz2019", "vicol2021")
    published_seeds: ClassVar[tuple[int, ...]] = (23, 29, 31, 37, 41)
    sequence_seed: ClassVar[int] = 66
    init_seed: ClassVar[int] = 5

    seeds: int = 3
    num_steps: int = 200_000
    horizon: int = 200
    num_workers: int = 10
    window: int = 20
    images: Literal["digits", "cifar-10"] = "digits"
    channels: tuple[int, ...] = (8, 8)
    hidden: tuple[int, ...] = (16,)

    @classmethod
    def at_paper_size(cls) -> "LoptCifar10Experiment":
        """The published settings; a matter for an accelerator, with days on two cores."""
        return cls(
            seeds=5,
            num_steps=40_000_000,
            horizon=1000,
            window=100,
            images="cifar-10",
            channels=(32, 32, 32, 32),
            hidden=(32, 32),
        )

    @property
    def problem(self) -> OptimizerTraining:
        return self._with(CNN(self.channels, self._shape))

    @property
    def _of_vicol(self) -> OptimizerTraining:
        return self._with(MLP((math.prod(self._shape), *self.hidden, 10)))

    @property
    def _shape(self) -> tuple[int, ...]:
        return _DIGIT if self.images == "digits" else _PHOTOGRAPH

    def _with(self, network: AbstractNetwork) -> OptimizerTraining:
        if self.images == "digits":
            digits = self.digits()
            images = data.Dataset(np.reshape(digits.inputs, (-1, *_DIGIT)), digits.targets)
        else:
            images = data.cifar10(self.data_dir).train
        return self.meta_training(image_task(images, network, self.batch_size, _CLIP))

    def entries(self) -> tuple[Entry, ...]:
        rates = {label: published_adam(rate) for label, rate in _RATES[self.images].items()}
        N, W, problem, dense = self.num_workers, self.window, self.problem, self._of_vicol
        reuse, persist, truncate = (
            lambda N, W, make=make: make(N, W, sigma=SIGMA) for make in (NRES, PES, TruncatedES)
        )
        few = _SHORT_WORKERS, _SHORT
        return (
            self.meta_entry("NRES", problem, reuse(N, W), rates["NRES"]),
            self.meta_entry("PES", problem, persist(N, W), rates["NRES"]),
            self.meta_entry("FullES", problem, FullES(1, sigma=SIGMA), rates["FullES"]),
            self.meta_entry("TES", problem, truncate(N, W), rates["TES"]),
            self.meta_entry("MLP NRES", dense, reuse(*few), rates["NRES"]),
            self.meta_entry("MLP PES", dense, persist(*few), rates["NRES"]),
            self.meta_entry("MLP TES", dense, truncate(*few), rates["TES"]),
        )

    def details(self):
        return Details(
            description=prose(
                __name__,
                num_params=self.num_params,
                channels=", ".join(map(str, self.channels)),
                hidden=", ".join(map(str, self.hidden)),
                images=self.images,
                horizon=self.horizon,
                num_workers=self.num_workers,
                window=self.window,
                short=_SHORT_WORKERS,
                num_steps=self.num_steps,
            ),
            metric="meta-loss",
            metric_scale="log",
        )
