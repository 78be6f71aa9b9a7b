"""A small per-parameter network with Adafactor's features, which starts as gradient descent."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import check_integer
from ..schedules import Log
from .optimizer import AbstractLearnedOptimizer
from .per_parameter import apply_network, init_network

_DECAYS = (0.9, 0.99, 0.999)
_SECOND_DECAY = 0.999
_TIMES = (1, 10, 100, 1000, 10_000, 100_000)
_NUM_FEATURES = 18 + len(_TIMES)
_TINY = 1e-16
_LEAST_SHARE = 1e-4


class FactoredMLP(AbstractLearnedOptimizer):
    r"""Gradient descent with momentum, to which a small network adds what it has learned.

    $$ u = - \eta\, e^{2 \tanh(o_1 / 2)} \big( m + \mathrm{rms}(m)\, o_0 \big), \qquad
       m \leftarrow \mathrm{momentum} \cdot m + g, \qquad \eta = e^{\mathrm{log\_rate}} $$

    The network gives every weight a direction $o_0$ and a magnitude $o_1$, which makes steps up to
    seven times as long or as short; without the bound, steps on networks that are larger than those
    of meta-training may run away. Its last layer starts at zero: before meta-training this is
    `optax.sgd(learning_rate, momentum)`, and whether what was learned beats the descent that it
    started from is a fair question. With the layers given it has 291 parameters; perturbations of
    0.01 change steps by a few per cent.

    It is shown, with means $m_\beta$ of gradients, the mean square $v$ of decay 0.999, its means
    over rows and columns $r$ and $c$, and Adafactor's $f = r c / \mathrm{mean}(r)$:

    - $g$, $w$ and $m_{0.9}, m_{0.99}, m_{0.999}$, and the gradient and the three means over
      $\sqrt f$;
    - the three means over $\sqrt v$, and $\sqrt v$, $\sqrt r$, $\sqrt c$ and their inverses;
    - $\tanh(t / \tau - 1)$ for $\tau$ = 1, 10, ..., 100 000, with $t$ steps made before.

    Rows and columns are of the last two axes; of a tensor with fewer, $r = c = f = v$. Roots are of
    $x + 10^{-4}\, \mathrm{mean}(x) + 10^{-16}$; all but times are divided by
    $\mathrm{rms}(x) = \sqrt{\mathrm{mean}(x^2) + 10^{-16}}$; these means are over the tensor.
    Directions and magnitudes hence depend on neither the loss's scale nor the tensor's size.

    State: five numbers per weight.

    **Arguments:**

    - `learning_rate`: where meta-training starts, in units of weights per unit of gradient; above
      zero; 0.1 by default.
    - `momentum`: the share of the last step's $m$ that is kept; not learned; from 0, below 1; 0.9
      by default.
    - `hidden`: the units of each hidden layer; (8, 8) by default.

    **Raises:** `ValueError` for numbers out of these ranges.

    Source: the features are of Metz et al., Practical tradeoffs between memory, compute, and
    performance in learned optimizers, 2022, arXiv:2203.11860, the size and that all is normalized
    of Moudgil et al., Celo2: towards learned optimization free lunch, 2026, arXiv:2602.19142.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    hidden: tuple[int, ...] = (8, 8)

    def __check_init__(self):
        for index, units in enumerate(self.hidden):
            check_integer(f"hidden[{index}]", units)
        Log().coordinate("learning_rate", self.learning_rate)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be from 0 and below 1, got {self.momentum!r}")

    def init_params(self, *, key):
        network = init_network((_NUM_FEATURES, *self.hidden, 2), key)
        last = f"layer{len(self.hidden)}"
        network[last] = jax.tree.map(jnp.zeros_like, network[last])
        rate = Log().coordinate("learning_rate", self.learning_rate)
        return {"log_rate": rate, "network": network}

    def init(self, weights):
        momenta = lambda w: jnp.zeros((1 + len(_DECAYS), *w.shape), w.dtype)
        return {
            "momenta": jax.tree.map(momenta, weights),
            "second": jax.tree.map(jnp.zeros_like, weights),
        }

    def update(self, params, gradients, state, weights, t):
        momenta = jax.tree.map(self._update_momenta, state["momenta"], gradients)
        average = lambda v, g: _SECOND_DECAY * v + (1 - _SECOND_DECAY) * g**2
        second = jax.tree.map(average, state["second"], gradients)
        leaves, structure = jax.tree.flatten(weights)
        of_tensors = [jax.tree.leaves(x) for x in (gradients, momenta, second)]
        features = [*map(_features, leaves, *of_tensors)]
        time = jnp.tanh(t / jnp.asarray(_TIMES, leaves[0].dtype) - 1)
        outputs = apply_network(params["network"], features, time)
        rate = jnp.exp(params["log_rate"])

        def step(momenta, outputs):
            momentum = momenta[0]
            direction, magnitude = jnp.reshape(outputs, (2, *momentum.shape))
            moved = momentum + jnp.sqrt(jnp.mean(momentum**2) + _TINY) * direction
            scale = rate * jnp.exp(2 * jnp.tanh(magnitude / 2))
            return (-scale * moved).astype(momentum.dtype)

        updates = map(step, of_tensors[1], outputs)
        return jax.tree.unflatten(structure, updates), {"momenta": momenta, "second": second}

    def _update_momenta(self, momenta: Float[Array, "momenta ..."], gradient: Float[Array, "..."]):
        """The heavy ball and the means of one tensor, with the newest gradient in."""
        decays = (self.momentum, *_DECAYS)
        gains = (1.0, *(1 - decay for decay in _DECAYS))
        column = lambda x: jnp.asarray(x, gradient.dtype).reshape(-1, *[1] * gradient.ndim)
        return column(decays) * momenta + column(gains) * gradient[None]


def _features(
    weight: Array, gradient: Array, momenta: Array, second: Array
) -> Float[Array, "features weights"]:
    """Features of one tensor's weights, each over its root mean square."""
    row, column, factored = map(_root, _factors(second))
    root, means = _root(second), [*momenta[1:]]
    features = [gradient, weight, *means]
    features += [x / factored for x in (gradient, *means)] + [x / root for x in means]
    features += [root, row, column, 1 / root, 1 / row, 1 / column]
    stacked = jnp.stack([jnp.broadcast_to(x, weight.shape) for x in features])
    columns = jnp.reshape(stacked, (len(features), math.prod(weight.shape)))
    return columns * jax.lax.rsqrt(_TINY + jnp.mean(columns**2, axis=1, keepdims=True))


def _factors(second: Array) -> tuple[Array, Array, Array]:
    """A second moment's means over rows and over columns, and their product over the mean.

    Means over axes and over time commute: what Adafactor keeps can be had from what is kept here.
    """
    if second.ndim < 2:
        return second, second, second
    row = jnp.mean(second, axis=-1, keepdims=True)
    column = jnp.mean(second, axis=-2, keepdims=True)
    mean = jnp.mean(row, axis=-2, keepdims=True)
    return row, column, row * (column / (mean + _TINY))


def _root(second: Array) -> Array:
    """The root, no smaller than a hundredth of its tensor's, so that no inverse stands out."""
    return jnp.sqrt(second + _LEAST_SHARE * jnp.mean(second) + _TINY)
