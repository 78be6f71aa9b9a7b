"""Distributions over tasks, from which those are drawn that an optimizer is to serve."""

import dataclasses
import math

import equinox as eqx
import numpy as np

from ...data import Dataset
from .._check import check_integer
from .classifier import classifier
from .image_task import check_images, held_out_data
from .mlp import MLP
from .task import Task


class TaskFamily(eqx.Module):
    r"""A distribution over tasks of classifying images, with dense networks of many sizes.

    The images are drawn uniformly, and so is the depth; width and batch size are drawn with
    logarithms that are uniform,

    $$ n = \big\lfloor \mathrm{low}^{1 - u}\, (\mathrm{high} + 1)^u \big\rfloor, \qquad
       u \sim \mathrm{Uniform}(0, 1) $$

    A program is compiled for one set of shapes, which is why tasks are drawn before meta-training
    begins, and as few as one is willing to compile. The scale at the start is no shape: every run
    draws its own. All ranges include both ends.

    **Arguments:**

    - `images`: data sets by name, as for `image_task`, whose classes are those in its targets.
    - `width`: the least and the most units of the hidden layers of a network, all of one width.
    - `depth`: the least and the most hidden layers.
    - `batch_size`: the least and the most examples in a batch.
    - `init_scale`: the least and the most that weights are multiplied by at the start.

    **Raises:** `ValueError` for a range that is none, or images that are none.

    Source: the idea is that of Metz et al., VeLO: training versatile learned optimizers by scaling
    up, 2022, arXiv:2211.09760, whose tasks are many more.
    """

    images: dict[str, Dataset]
    width: tuple[int, int] = (8, 64)
    depth: tuple[int, int] = (1, 3)
    batch_size: tuple[int, int] = (16, 256)
    init_scale: tuple[float, float] = (0.5, 2.0)

    def __check_init__(self):
        if not self.images:
            raise ValueError("images must have a data set at least, got none")
        for name, images in self.images.items():
            check_images(f"images[{name!r}]", images, _network(images, ()))
        for name, least in (("width", 1), ("depth", 0), ("batch_size", 1)):
            low, high = getattr(self, name)
            check_integer(f"{name}[0]", low, least)
            check_integer(f"{name}[1]", high, low)
        low, high = self.init_scale
        if not 0 < low <= high < math.inf:
            raise ValueError(
                f"init_scale must be (low, high) with 0 < low <= high, got {self.init_scale}"
            )

    def sample(self, count: int, seed: int = 0) -> tuple[Task, ...]:
        """So many tasks, the same ones for the same seed, whose names say what they are.

        Of more tasks the first are those of fewer. Tasks of the same images share their memory.

        **Arguments:**

        - `count`: how many tasks.
        - `seed`: which ones; at least 0.
        """
        check_integer("count", count)
        check_integer("seed", seed, 0)
        generator = np.random.default_rng(seed)
        data = {}
        tasks = []
        for _ in range(count):
            name = list(self.images)[generator.integers(len(self.images))]
            width, batch_size = (_draw(x, generator) for x in (self.width, self.batch_size))
            depth = int(generator.integers(*self.depth, endpoint=True))
            network = _network(self.images[name], (width,) * depth)
            if name not in data:
                data[name] = held_out_data(self.images[name], 1)
            sized = dataclasses.replace(
                data[name], batch_size=batch_size, valid_batch_size=batch_size
            )
            layers = f"{depth} x {width} units" if depth else "no hidden layer"
            model = classifier(network, self.init_scale)
            tasks.append(Task(model, sized, f"{name}, {layers}, batches of {batch_size}"))
        return tuple(tasks)


def _network(images: Dataset, hidden: tuple[int, ...]) -> MLP:
    """The network that reads these images and knows their classes."""
    shape, classes = np.shape(images.inputs), np.asarray(images.targets)
    return MLP((math.prod(shape[1:]), *hidden, int(classes.max(initial=0)) + 1))


def _draw(bounds: tuple[int, int], generator: np.random.Generator) -> int:
    """An integer with uniform logarithm, both bounds included."""
    low, high = bounds
    drawn = math.exp(generator.uniform(math.log(low), math.log(high + 1)))
    # Where rounding brings the exponential of the logarithm out of the range.
    return min(max(int(drawn), low), high)
