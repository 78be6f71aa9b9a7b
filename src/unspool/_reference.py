"""What an estimator ought to estimate, simulated straight from its definition.

A slow second opinion: one trajectory at a time, no kernel, no engine, nothing carried between
episodes. `check_unbiased` holds estimators against it where no closed form is known.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._custom_types import Params, RandomKey
from ._problem import AbstractProblem
from ._programs import call_program
from ._random import Purpose, stream
from ._target import Target


def sample_gradients(
    problem: AbstractProblem,
    params: Params,
    target: Target,
    *,
    key: RandomKey,
    num_samples: int,
) -> PyTree[Float[Array, "samples ..."]]:
    r"""Independent unbiased samples of a target gradient, one episode each.

    A sample is a gradient of an episode's *total* loss, divided by the horizon. With noise it is
    the score-function estimate of an antithetic pair,
    $\sum_t \frac{\ell_t^+ - \ell_t^-}{2} \sum_{j \le t / \mathrm{period}} z_j / \sigma$; without,
    reverse mode. Where the target has a window, every window starts from the unperturbed state.
    """
    return call_program(_sample_gradients, problem, params, target, key, num_samples)


def _sample_gradients(problem, params, target, key, num_samples):
    sample = _score_sample if target.is_smoothed else _derivative_sample
    keys = jax.random.split(stream(key, Purpose.REFERENCE), num_samples)
    samples = jax.vmap(lambda key: sample(problem, params, target, key))(keys)
    return jax.tree.map(lambda x: x / problem.horizon, samples)


class _Episode(eqx.Module):
    """One episode's data, and how a trajectory in it moves."""

    problem: AbstractProblem
    key: RandomKey

    def start(self, params: Params):
        state = self.problem.init_state(params, key=stream(self.key, Purpose.START))
        return state, self.problem.is_over(state)

    def step(self, params: Params, row, t):
        """The row after step `t`, and its loss; neither changes once the episode is over."""
        state, over = row
        length = self.problem.draw_length(key=stream(self.key, Purpose.LENGTH))
        over = over | (t >= length)
        stepped, loss = self.problem.step(params, state, t, key=stream(self.key, Purpose.STEP, t))
        loss = jnp.where(over, 0.0, loss * self.problem.weight(length))
        state = jax.tree.map(lambda new, old: jnp.where(over, old, new), stepped, state)
        return (state, over | self.problem.is_over(state)), loss


def _derivative_sample(problem, params, target: Target, key: RandomKey) -> Params:
    episode = _Episode(problem, key)

    def total(params):
        def step(row, t):
            if target.window is not None:
                inside = (t % target.window != 0) | (t == 0)
                row = jax.tree.map(lambda x: jnp.where(inside, x, jax.lax.stop_gradient(x)), row)
            return episode.step(params, row, t)

        return jnp.sum(jax.lax.scan(step, episode.start(params), jnp.arange(problem.horizon))[1])

    return jax.grad(total)(params)


def _score_sample(problem, params, target: Target, key: RandomKey) -> Params:
    T = problem.horizon
    W, K = target.window or T, target.period or T
    episode = _Episode(problem, key)
    leaves, structure = jax.tree.flatten(params)
    sigmas = _sigmas(target, structure)

    def draw(block):
        keys = jax.random.split(stream(key, Purpose.NOISE, block), len(leaves))
        return [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]

    def shifted(sign, noise):
        moved = [x + sign * s * z for x, s, z in zip(leaves, sigmas, noise, strict=True)]
        return jax.tree.unflatten(structure, moved)

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
        credit = [
            c + jnp.where(fresh, z / s, 0.0) for c, z, s in zip(credit, noise, sigmas, strict=True)
        ]
        plus, above = episode.step(shifted(1, noise), plus, t)
        minus, below = episode.step(shifted(-1, noise), minus, t)
        slope = (above - below) / 2
        gradient = [g + slope * c for g, c in zip(gradient, credit, strict=True)]
        return (centre, plus, minus, credit, gradient), None

    nothing = [jnp.zeros_like(x) for x in leaves]
    first = draw(0)
    arms = (episode.start(shifted(1, first)), episode.start(shifted(-1, first)))
    carry = (episode.start(params), *arms, nothing, nothing)
    (*_, gradient), _ = jax.lax.scan(step, carry, jnp.arange(T))
    return jax.tree.unflatten(structure, gradient)


def _sigmas(target: Target, structure) -> list[Any]:
    """The scale of each leaf; of a schedule, the first."""
    sigma = target.sigma(jnp.zeros((), int)) if callable(target.sigma) else target.sigma
    if jax.tree.structure(sigma) == structure:
        return jax.tree.leaves(sigma)
    return [sigma] * structure.num_leaves
