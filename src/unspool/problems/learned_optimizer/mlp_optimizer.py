"""The per-parameter network of Metz et al. (2019), the learned optimizer of the literature."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_integer
from .optimizer import AbstractLearnedOptimizer
from .per_parameter import apply_network, init_network

_DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_TIMES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000)
_NUM_FEATURES = 2 + len(_DECAYS) + len(_TIMES)
_SCALE = 1e-3


class MLPOptimizer(AbstractLearnedOptimizer):
    r"""A small network that is given the features of one weight, and makes its update of them.

    $$ u = - 0.001\, o_0\, e^{0.001\, o_1}, \qquad
       o = \mathrm{network}_\theta(g, w, m_{0.1}, \dots, m_{0.9999}, \mathrm{time}) $$

    Its features are the gradient $g$, the weight $w$ and six momenta
    $m_\beta \leftarrow \beta m_\beta + (1 - \beta) g$, which start at zero and take in $g$ before
    they are used; each is divided by $\sqrt{10^{-5} + \mathrm{mean}(x^2)}$, the mean being over its
    tensor. They are followed by the eleven $\tanh(t / \tau - 1)$ for $\tau$ = 1, 3, 10, ...,
    100 000, with $t$ steps made before. The network has rectifiers, weights that start truncated
    normal (at two standard deviations of $1 / \sqrt{\text{fan-in}}$), and biases that start at
    zero. With the published layers it has 1762 parameters.

    State: six numbers per weight.

    **Arguments:** `hidden`, the units of each hidden layer.

    Source: Metz et al., Understanding and correcting pathologies in the training of learned
    optimizers, 2019, arXiv:1810.10180, with the constants of the experiments of Li et al., 2023,
    arXiv:2304.12180.
    """

    hidden: tuple[int, ...] = (32, 32)

    def __check_init__(self):
        for index, units in enumerate(self.hidden):
            check_integer(f"hidden[{index}]", units)

    def init_params(self, *, key):
        return init_network((_NUM_FEATURES, *self.hidden, 2), key)

    def init(self, weights):
        return jax.tree.map(lambda w: jnp.zeros((len(_DECAYS), *w.shape), w.dtype), weights)

    def update(self, params, gradients, state, weights, t):
        momenta = jax.tree.map(_update_momenta, state, gradients)
        leaves, structure = jax.tree.flatten(weights)
        features = map(_features, jax.tree.leaves(gradients), leaves, jax.tree.leaves(momenta))
        time = jnp.tanh(t / jnp.asarray(_TIMES, leaves[0].dtype) - 1)
        outputs = apply_network(params, [*features], time)
        steps = [-_SCALE * x[0] * jnp.exp(_SCALE * x[1]) for x in outputs]
        updates = [
            jnp.reshape(x, w.shape).astype(w.dtype) for x, w in zip(steps, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, updates), momenta


def _update_momenta(momenta: Float[Array, "decays ..."], gradient: Float[Array, "..."]) -> Array:
    """The momenta of one tensor, with the newest gradient in."""
    decays = jnp.asarray(_DECAYS, gradient.dtype).reshape(-1, *[1] * gradient.ndim)
    return decays * momenta + (1 - decays) * gradient[None]


def _features(gradient: Array, weight: Array, momenta: Array) -> Float[Array, "features weights"]:
    """Features of one tensor's weights, each over its root mean square."""
    stacked = jnp.concatenate([gradient[None], weight[None], momenta])
    columns = jnp.reshape(stacked, (len(stacked), -1))
    return columns * jax.lax.rsqrt(1e-5 + jnp.mean(columns**2, axis=1, keepdims=True))
