"""A learned optimizer of which a part is no longer learned."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.tree_util import keystr, tree_leaves_with_path, tree_map_with_path

from ..._custom_types import Params
from ..._random import seeded_key
from .optimizer import AbstractLearnedOptimizer


class Frozen(AbstractLearnedOptimizer):
    r"""Another learned optimizer, of whose parameters some stay as they are.

    $$ \mathrm{update}_\theta = \mathrm{update}'_{(\theta,\, \text{frozen})} $$

    Meta-training then goes on in stages, as Celo's does: a rule first, its rate afterwards, or a
    few numbers for a new kind of task. `names` are of entries as one sees them in the tree, with
    dots between the levels: of `FactoredMLP`, `"network"` is all but the rate, and
    `"network.layer0"` the first layer.

    The parameters of this optimizer are a tree like those of the other, with `None` where they are
    frozen. To export what was learned, export the other optimizer with `full(params)`.

    State: that of the other.

    **Arguments:**

    - `optimizer`: the other.
    - `params`: all its parameters: the frozen ones, and where meta-training starts with the rest.
    - `names`: what is frozen, one name at least.

    **Raises:** `ValueError` for parameters of another tree than the optimizer's, names that do not
    exist, and names that leave nothing to be learned.

    Source: Moudgil et al., Celo: training versatile learned optimizers on a compute diet, 2025,
    arXiv:2501.12670.
    """

    optimizer: AbstractLearnedOptimizer
    # Arrays of NumPy, such as records have, would be constants to the compiler.
    params: Params = eqx.field(converter=lambda tree: jax.tree.map(jnp.asarray, tree))
    names: tuple[str, ...]

    def __check_init__(self):
        if not isinstance(self.optimizer, AbstractLearnedOptimizer):
            raise ValueError(
                f"optimizer must be a learned optimizer, such as MLPOptimizer(), got "
                f"{self.optimizer!r}"
            )
        key = jax.eval_shape(lambda: seeded_key(0))
        legal = _shapes(eqx.filter_eval_shape(lambda k: self.optimizer.init_params(key=k), key))
        if (given := _shapes(self.params)) != legal:
            raise ValueError(
                f"params must be those of {type(self.optimizer).__name__}, of shapes {legal}, got "
                f"{given}"
            )
        existing = dict.fromkeys(name for path in legal for name in _names(path))
        wrong = [name for name in self.names if name not in existing]
        if wrong or not self.names:
            raise ValueError(
                f"names must be some of {', '.join(existing)}, got {self.names!r}"
                + (f", of which {', '.join(map(repr, wrong))} do not exist" if wrong else "")
            )
        if not jax.tree.leaves(self._free):
            raise ValueError(f"names must leave something to be learned, got {self.names!r}")

    def init_params(self, *, key):
        return self._free

    def init(self, weights):
        return self.optimizer.init(weights)

    def update(self, params, gradients, state, weights, t):
        return self.optimizer.update(self.full(params), gradients, state, weights, t)

    def full(self, params: Params) -> Params:
        """All parameters of the other optimizer, given those of this one."""
        # What is frozen comes first: what was learned may not write over it.
        frozen = tree_map_with_path(lambda p, x: x if self._freezes(p) else None, self.params)
        return eqx.combine(frozen, params)

    @property
    def _free(self) -> Params:
        return tree_map_with_path(lambda p, x: None if self._freezes(p) else x, self.params)

    def _freezes(self, path) -> bool:
        return not set(self.names).isdisjoint(_names(_name(path)))


def _name(path) -> str:
    return keystr(path, simple=True, separator=".")


def _names(name: str) -> list[str]:
    """An entry's own name, after those of all that it lies in."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    return {_name(path): x.shape for path, x in tree_leaves_with_path(params)}
