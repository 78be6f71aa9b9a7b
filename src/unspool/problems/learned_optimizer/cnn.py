"""Convolutional networks for small images."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_integer
from .dense import Activation, dense
from .network import AbstractNetwork, Tensor

_KERNEL_SIZE = 3


class CNN(AbstractNetwork):
    """Convolutions of 3 x 3 pixels, each followed by pooling, and a dense layer on what is left.

    Images are padded with zeros, so that a convolution keeps their size; the activation follows,
    and the mean of each 2 x 2 pixels, where an odd side loses its last row or column. By default
    the network of the CIFAR-10 experiment of Li et al., of 29 930 parameters.

    **Arguments:**

    - `channels`: outputs of each convolution.
    - `image_shape`: height and width, and colors last if there are any.
    - `num_classes`: how many classes are told apart.
    - `activation`: a function of an array; by default rectifiers.

    **Raises:** `ValueError` for more convolutions than the image can be halved.

    Source: Li et al., Noise-reuse in online evolution strategies, 2023, arXiv:2304.12180.
    """

    channels: tuple[int, ...] = (32, 32, 32, 32)
    image_shape: tuple[int, ...] = (32, 32, 3)
    num_classes: int = 10  # pyright: ignore[reportIncompatibleMethodOverride]
    activation: Activation = jax.nn.relu

    def __check_init__(self):
        if len(self.image_shape) not in (2, 3):
            raise ValueError(
                "image_shape must be (height, width) or (height, width, colors), got "
                f"{self.image_shape}"
            )
        for name in ("channels", "image_shape"):
            for index, size in enumerate(getattr(self, name)):
                check_integer(f"{name}[{index}]", size)
        check_integer("num_classes", self.num_classes)
        most = int(math.log2(min(self.image_shape[:2])))
        if len(self.channels) > most:
            raise ValueError(
                f"channels must be at most {most} for images of the shape {self.image_shape}, "
                f"which are halved once for each, got {len(self.channels)}"
            )

    @property
    def tensors(self):
        height, width, *colors = self.image_shape
        into, layers = math.prod(colors), {}
        for index, out in enumerate(self.channels):
            shape = (_KERNEL_SIZE, _KERNEL_SIZE, into, out)
            kernel = Tensor(shape, math.prod(shape[:-1]))
            layers[f"layer{index}"] = {"bias": Tensor((out,)), "kernel": kernel}
            height, width, into = height // 2, width // 2, out
        last, flat = Tensor((self.num_classes,)), height * width * into
        matrix = Tensor((flat, self.num_classes), flat)
        return layers | {f"layer{len(layers)}": {"bias": last, "matrix": matrix}}

    def check_inputs(self, shape):
        if shape != self.image_shape:
            raise ValueError(
                f"image_shape must be that of the images, {shape}, got {self.image_shape}"
            )

    def scores(self, weights, inputs):
        height, width, *colors = self.image_shape
        images = jnp.reshape(inputs, (-1, height, width, math.prod(colors)))
        *convolutions, last = [weights[name] for name in self.tensors]
        for layer in convolutions:
            images = _pool(self.activation(_convolve(layer, images)))
        return dense(last, jnp.reshape(images, (len(images), -1)))


def _convolve(layer: dict[str, Array], images: Float[Array, "n h w _"]) -> Array:
    """The convolution as one product of matrices.

    With weights of its own for each of many networks, as estimators have, XLA's convolutions take
    1.7 times as long on a CPU.
    """
    count, height, width, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = [(i, j) for i in range(_KERNEL_SIZE) for j in range(_KERNEL_SIZE)]
    patches = [padded[:, i : i + height, j : j + width] for i, j in offsets]
    pixels = jnp.reshape(jnp.concatenate(patches, axis=-1), (count * height * width, -1))
    kernel = layer["kernel"]
    matrix = jnp.reshape(kernel, (-1, kernel.shape[-1]))
    outputs = dense({"bias": layer["bias"], "matrix": matrix}, pixels)
    return jnp.reshape(outputs, (count, height, width, -1))


def _pool(images: Float[Array, "n h w c"]) -> Array:
    """The mean of each 2 x 2 pixels."""
    count, height, width, channels = images.shape
    height, width = height // 2, width // 2
    blocks = jnp.reshape(
        images[:, : 2 * height, : 2 * width], (count, height, 2, width, 2, channels)
    )
    return jnp.mean(blocks, axis=(2, 4))
