"""What an estimator ought to estimate, simulated straight from its definition.

A slow second opinion: one trajectory at a time, no kernel, no engine, nothing carried between
episodes. `check_unbiased` holds estimators against it where no closed form is known.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from . import _rows as rows
from ._custom_types import KeyLike, Params, RandomKey
from ._estimator.sigma import sigma_at
from ._params import Fixed, join, split
from ._problem import AbstractProblem
from ._random import Purpose, stream
from ._target import Target


@eqx.filter_jit
def sample_gradients(
    problem: AbstractProblem,
    params: Params,
    target: Target,
    *,
    key: KeyLike,
    num_samples: int,
) -> PyTree[Float[Array, "samples ..."]]:
    r"""Independent unbiased samples of a target gradient, one episode each.

    A sample is a gradient of an episode's *total* loss, divided by the horizon. With noise it is
    the score-function estimate of an antithetic pair,
    $\sum_t \frac{\ell_t^+ - \ell_t^-}{2} \sum_{j \le t / \mathrm{period}} z_j / \sigma$; without,
    reverse mode. Where the target has a window, every window starts from the unperturbed state.
    """
    sample = _score_sample if target.is_smoothed else _derivative_sample
    keys = jax.random.split(stream(key, Purpose.REFERENCE), num_samples)
    trained, fixed = split(params)
    episode = lambda key: _Episode(problem, fixed, key)
    samples = jax.vmap(lambda key: sample(episode(key), trained, target))(keys)
    return jax.tree.map(lambda x: x / problem.horizon, samples)


class _Episode(eqx.Module):
    """One episode's data, and how a trajectory in it moves."""

    problem: AbstractProblem
    fixed: Fixed
    key: RandomKey

    def start(self, params: Params):
        params = join(params, self.fixed)
        state = self.problem.init_state(params, key=stream(self.key, Purpose.START))
        return state, self.problem.is_over(state)

    def step(self, params: Params, row, t):
        """The row after step `t`, and its loss; neither changes once the episode is over."""
        params = join(params, self.fixed)
        state, over = row
        length = self.problem.draw_length(key=stream(self.key, Purpose.LENGTH))
        over = over | (t >= length)
        stepped, loss = self.problem.step(params, state, t, key=stream(self.key, Purpose.STEP, t))
        loss = jnp.where(over, 0.0, rows.multiply(loss, self.problem.weight(length)))
        state = jax.tree.map(lambda new, old: jnp.where(over, old, new), stepped, state)
        return (state, over | self.problem.is_over(state)), loss


def _derivative_sample(episode: _Episode, params: Params, target: Target) -> Params:
    def total(params):
        def step(row, t):
            if target.window is not None:
                inside = (t % target.window != 0) | (t == 0)
                row = jax.tree.map(lambda x: jnp.where(inside, x, jax.lax.stop_gradient(x)), row)
            return episode.step(params, row, t)

        return jnp.sum(
            jax.lax.scan(step, episode.start(params), jnp.arange(episode.problem.horizon))[1]
        )

    return jax.grad(total)(params)


def _score_sample(episode: _Episode, params: Params, target: Target) -> Params:
    T = episode.problem.horizon
    W, K = target.window or T, target.period or T
    leaves, structure = jax.tree.flatten(params)
    # Of a schedule, the first.
    sigmas = jax.tree.leaves(sigma_at(target.sigma, params, jnp.zeros((), int)))

    def draw(block):
        keys = jax.random.split(stream(episode.key, Purpose.NOISE, block), len(leaves))
        return [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]

    @rows.widening
    def shifted(sign, noise):
        steps = zip(leaves, sigmas, noise, strict=True)
        moved = [(x + sign * s * z).astype(x.dtype) for x, s, z in steps]
        return jax.tree.unflatten(structure, moved)

    @rows.widening
    def score(noise):
        return [(z / s).astype(float) for z, s in zip(noise, sigmas, strict=True)]

    def step(carry, t):
        centre, plus, minus, credit, gradient = carry
        noise = draw(t // K)
        fresh = (t % K == 0) | (t % W == 0)
        if target.window is not None:
            branch = (t % W == 0) & (t > 0)
            choose = lambda arm: jax.tree.map(lambda c, x: jnp.where(branch, c, x), centre, arm)
            plus, minus = choose(plus), choose(minus)
            credit = [jnp.where(t % W == 0, 0.0, c) for c in credit]
            centre, _ = episode.step(params, centre, t)
        credit = [c + jnp.where(fresh, s, 0.0) for c, s in zip(credit, score(noise), strict=True)]
        plus, above = episode.step(shifted(1, noise), plus, t)
        minus, below = episode.step(shifted(-1, noise), minus, t)
        slope = jnp.asarray(above - below, float) / 2
        gradient = [g + slope * c for g, c in zip(gradient, credit, strict=True)]
        return (centre, plus, minus, credit, gradient), None

    nothing = [jnp.zeros(x.shape) for x in leaves]
    first = draw(0)
    arms = (episode.start(shifted(1, first)), episode.start(shifted(-1, first)))
    carry = (episode.start(params), *arms, nothing, nothing)
    (*_, gradient), _ = jax.lax.scan(step, carry, jnp.arange(T))
    return jax.tree.unflatten(structure, gradient)
