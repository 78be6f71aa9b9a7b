"""The model whose training is tuned."""

from collections.abc import Callable
from typing import Any

import equinox as eqx

from .space import PerTensor, Space, check_space


class Model(eqx.Module):
    """A model: its weights at the start, its loss, and how often it is right.

    **Arguments:**

    - `init`: `init(key)` returns the weights, any tree of arrays.
    - `loss`: `loss(weights, batch)` returns a scalar that training lowers; a batch is what the data
      are, with fewer examples.
    - `accuracy`: `accuracy(weights, batch)` returns a fraction from 0 to 1. Optional; it need not
      have a derivative.
    - `space`: hyperparameters of the model itself, which all three functions are given by name:
      with `{"l2": Constant(0.1)}` the loss is called as `loss(weights, batch, l2=...)`.
    - `valid_loss`: the loss of examples held out, where that differs, being without a penalty for
      instance.

    **Raises:** `ValueError` for a function that cannot be called or a space that is none.
    """

    init: Callable[..., Any]
    loss: Callable[..., Any]
    accuracy: Callable[..., Any] | None = None
    space: Space = eqx.field(default_factory=dict)
    valid_loss: Callable[..., Any] | None = None

    def __check_init__(self):
        for name in ("init", "loss", "accuracy", "valid_loss"):
            function = getattr(self, name)
            optional = name in ("accuracy", "valid_loss")
            if not callable(function) and not (optional and function is None):
                raise ValueError(f"{name} must be a function, got {function!r}")
        check_space("space", self.space)
        for name, entry in self.space.items():
            if isinstance(entry, PerTensor):
                raise ValueError(
                    f"space[{name!r}] must be a schedule or PerGroup, for PerTensor is about the "
                    f"optimizer, got {entry!r}"
                )

    def loss_held_out(self, weights: Any, batch: Any, **hyper: Any) -> Any:
        """The loss of examples that are not trained on."""
        return (self.valid_loss or self.loss)(weights, batch, **hyper)
