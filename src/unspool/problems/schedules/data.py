"""The examples that a model is trained and judged on, on the device."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from ..._custom_types import RandomKey

Batch = PyTree[Shaped[Array, "examples ..."]]


class Data(eqx.Module):
    """Examples to train on and examples held out, of which batches are drawn by index.

    **Arguments:**

    - `train`: any tree of arrays whose first axes are the examples, say `(images, labels)`.
    - `valid`: the like, held out; by default none, and the objective has to do without.
    - `batch_size`: examples in a batch, drawn with replacement; by default all of them, each once.
    - `valid_batch_size`: the like for batches that are held out; by default `batch_size`.

    **Raises:** `ValueError` for trees without examples, or of different numbers of them.
    """

    train: Batch
    valid: Batch | None
    batch_size: int | None
    valid_batch_size: int | None

    def __init__(
        self,
        train: Any,
        valid: Any = None,
        batch_size: int | None = None,
        valid_batch_size: int | None = None,
    ):
        self.train = _examples("train", train)
        self.valid = None if valid is None else _examples("valid", valid)
        self.batch_size = batch_size
        self.valid_batch_size = batch_size if valid_batch_size is None else valid_batch_size
        for name in ("batch_size", "valid_batch_size"):
            size = getattr(self, name)
            if size is not None and (not isinstance(size, int) or size < 1):
                raise ValueError(f"{name} must be an integer of at least 1, got {size!r}")

    def draw_train(self, key: RandomKey) -> Batch:
        """A batch to train on."""
        return _draw(self.train, self.batch_size, key)

    def draw_valid(self, key: RandomKey) -> Batch:
        """A batch of those held out."""
        return _draw(self.valid, self.valid_batch_size, key)


def _draw(examples: Any, size: int | None, key: RandomKey) -> Any:
    if size is None:
        return examples
    count = jax.tree.leaves(examples)[0].shape[0]
    # Next to no bias for counts far below 2**32, and half the random numbers of `randint`.
    index = jax.random.bits(key, (size,)) % count
    return jax.tree.map(lambda x: x[index], examples)


def _examples(name: str, tree: Any) -> Batch:
    tree = jax.tree.map(jnp.asarray, tree)
    shapes = [x.shape for x in jax.tree.leaves(tree)]
    if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"{name} must be arrays whose first axes are the same examples, got shapes {shapes}"
        )
    if shapes[0][0] == 0:
        raise ValueError(f"{name} must have an example at least, got shapes {shapes}")
    return tree
