"""Tasks of telling images apart, or the rows of a table."""

import math

import numpy as np

from ...data import Dataset
from ...data.dataset import check_dataset
from ..schedules import Data
from .classifier import classifier
from .network import AbstractNetwork
from .task import Task


def image_task(
    images: Dataset,
    network: AbstractNetwork,
    batch_size: int = 128,
    clip: float | None = None,
    init_scale: float | tuple[float, float] = 1.0,
) -> Task:
    """Makes the `Task` of classifying images, or the rows of a table.

    The first four fifths are trained on, the others are held out.

    The published task is
    `image_task(data.resize(data.fashion_mnist().train, 8), MLP())`, and that of CIFAR-10
    `image_task(data.cifar10().train, CNN(), 32, clip=1.5 * math.log(10))`.

    **Arguments:**

    - `images`: inputs that the network reads, the rows of a table for instance, and targets that
      are classes from 0. Where they are sorted by class, mix them first with `data.split`.
    - `network`: what is trained, `MLP` or `CNN` or one of yours.
    - `batch_size`: examples in a batch, to train on or held out, drawn with replacement.
    - `clip`, `init_scale`: as in `classifier`.

    **Raises:** `ValueError` for images that the network cannot read, targets that are none of its
    classes, or less than two images.

    **Example:**

    >>> from unspool import data
    >>> from unspool.problems.learned_optimizer import MLP, image_task
    >>> task = image_task(data.digits(), MLP((64, 32, 10)), batch_size=64)
    >>> task.name, task.data.train[0].shape
    ('MLP of 2410 weights, batches of 64', (1437, 64))

    Source: Li et al., Noise-reuse in online evolution strategies, 2023, arXiv:2304.12180.
    """
    model = classifier(network, init_scale, clip)
    check_images("images", images, network)
    return Task(model, held_out_data(images, batch_size), task_name(network, batch_size))


def task_name(network: AbstractNetwork, batch_size: int) -> str:
    """A task of a network in words."""
    tensors = [tensor for layer in network.tensors.values() for tensor in layer.values()]
    count = sum(math.prod(tensor.shape) for tensor in tensors)
    return f"{type(network).__name__} of {count} weights, batches of {batch_size}"


def held_out_data(images: Dataset, batch_size: int) -> Data:
    """The first four fifths of the images to train on, and the others held out."""
    cut = len(images.inputs) * 4 // 5
    return Data(
        (images.inputs[:cut], images.targets[:cut]),
        (images.inputs[cut:], images.targets[cut:]),
        batch_size,
    )


def check_images(name: str, images: Dataset, network: AbstractNetwork) -> None:
    """Raises `ValueError` unless the network can read the images and has all their classes."""
    check_dataset(name, images)
    inputs, targets = images
    if len(inputs) < 2:
        raise ValueError(f"{name} must have an example to train on and one held out, got 1")
    network.check_inputs(inputs.shape[1:])
    if not np.issubdtype(targets.dtype, np.integer) or targets.ndim != 1:
        raise ValueError(
            f"{name} must have an integer class for each example in targets, got {targets.dtype} "
            f"of the shape {targets.shape}"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= network.num_classes:
        raise ValueError(
            f"{name} must have targets from 0 to {network.num_classes - 1}, the classes of the "
            f"network, got {low if low < 0 else high}"
        )
