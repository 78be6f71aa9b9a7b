"""Samples of the gradient that an estimator is to estimate, straight from its definition.

A slow second opinion: one trajectory at a time, no kernel, no engine, nothing carried between
episodes. `check_unbiased` holds estimators against it where no closed form is known.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from . import _rows as rows
from ._custom_types import IntScalar, KeyLike, Params, RandomKey
from ._estimator.rounding import hold
from ._estimator.sigma import as_scale, spread_scale
from ._params import Fixed, join, split
from ._problem import AbstractProblem
from ._programs import call_program
from ._random import Purpose, as_key, stream
from ._target import Target


class EpisodeStart(NamedTuple):
    """The start of an episode.

    - `key`: the episode's randomness.
    - `episode`: its number, which a curriculum makes its length depend on.
    - `update`: estimates made before it, which a schedule makes sigma depend on.
    """

    key: RandomKey
    episode: IntScalar
    update: IntScalar


def sample_gradients(
    problem: AbstractProblem,
    params: Params,
    target: Target,
    *,
    key: KeyLike,
    num_samples: int,
) -> PyTree[Float[Array, "samples ..."]]:
    """Independent samples of a target gradient that neither a curriculum nor a schedule moves."""
    return call_program(_sample_gradients, problem, params, target, as_key(key), num_samples)


def _sample_gradients(problem, params, target, key, num_samples):
    none = jnp.zeros(num_samples, int)
    starts = EpisodeStart(jax.random.split(stream(key, Purpose.REFERENCE), num_samples), none, none)
    sample = lambda start: sample_gradient(problem, params, target, start, problem.horizon)
    return jax.vmap(sample)(starts)


def sample_gradient(
    problem: AbstractProblem,
    params: Params,
    target: Target,
    start: EpisodeStart,
    steps_per_update: int,
) -> Params:
    r"""One unbiased sample of a target gradient: an episode's.

    It is the gradient of the episode's *total* loss, divided by the horizon. With noise it is
    the score-function estimate of an antithetic pair,
    $\sum_t \frac{\ell_t^+ - \ell_t^-}{2} \sum_{j \le t / \mathrm{period}} z_j / \sigma_j$;
    without, reverse mode. Where the target has a window, every window starts from the unperturbed
    state. The $\sigma_j$ of a schedule is that of the update in which $z_j$ is drawn, of which
    there is one every `steps_per_update` steps.
    """
    trained, fixed = split(params)
    episode = _Episode(problem, fixed, start.key, start.episode)
    if target.is_smoothed:
        update = lambda t: start.update + t // steps_per_update
        sample = _score_sample(episode, trained, target, update)
    else:
        sample = _derivative_sample(episode, trained, target)
    return jax.tree.map(lambda x: x / problem.horizon, sample)


class _Episode(eqx.Module):
    """One episode's data, and how a trajectory in it moves."""

    problem: AbstractProblem
    fixed: Fixed
    key: RandomKey
    episode: IntScalar

    @property
    def length(self) -> IntScalar:
        horizon, episodes = self.problem.horizon, self.problem.episodes
        length = jnp.array(horizon)
        if episodes.draw_length is not None:
            length = episodes.draw_length(key=stream(self.key, Purpose.LENGTH))
        if episodes.max_length is not None:
            length = jnp.minimum(length, episodes.max_length(self.episode))
        return jnp.clip(length, 1, horizon)

    @property
    def weight(self):
        weight = self.problem.episodes.weight
        return 1.0 if weight is None else weight(self.length)

    def is_done(self, state):
        is_done = self.problem.episodes.is_done
        return jnp.array(False) if is_done is None else is_done(state)

    def start(self, params: Params):
        begin = lambda params: self.problem.init_state(
            join(params, self.fixed), key=stream(self.key, Purpose.START)
        )
        # An episode without a step has no derivative, not even one that is no number.
        done = self.is_done(begin(params))
        return begin(rows.constant_where(done, params)), done

    def step(self, params: Params, row, t):
        """The row after step `t`, and its loss; neither changes once the episode is over."""
        state, done = row
        done = done | (t >= self.length)
        # A step that is not taken has no derivative, not even one that is no number.
        params, state = rows.constant_where(done, (join(params, self.fixed), state))
        stepped, loss = self.problem.step(params, state, t, key=stream(self.key, Purpose.STEP, t))
        loss = jnp.where(done, 0.0, rows.multiply(loss, self.weight))
        state = jax.tree.map(lambda new, old: jnp.where(done, old, new), stepped, state)
        return (state, done | self.is_done(state)), loss


def _derivative_sample(episode: _Episode, params: Params, target: Target) -> Params:
    horizon = episode.problem.horizon

    def total(params):
        def step(row, t):
            if target.window is not None:
                inside = (t % target.window != 0) | (t == 0)
                row = jax.tree.map(lambda x: jnp.where(inside, x, jax.lax.stop_gradient(x)), row)
            return episode.step(params, row, t)

        return jnp.sum(jax.lax.scan(step, episode.start(params), jnp.arange(horizon))[1])

    return jax.grad(total)(params)


def _score_sample(
    episode: _Episode,
    params: Params,
    target: Target,
    update: Callable[[IntScalar], IntScalar],
) -> Params:
    T = episode.problem.horizon
    W, K = target.window or T, target.period or T
    leaves, structure = jax.tree.flatten(params)
    wide, scale = rows.widen(leaves), as_scale(target.sigma)

    def draw(block):
        keys = jax.random.split(stream(episode.key, Purpose.NOISE, block), len(leaves))
        noise = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, wide, strict=True)]
        bits = [
            jax.random.bits(jax.random.fold_in(k, 1), x.shape, jnp.uint32)
            for k, x in zip(keys, wide, strict=True)
        ]
        sigma = spread_scale(scale.at(scale.stamp(scale.init(params), update(block * K))), params)
        return noise, jax.tree.leaves(sigma), bits

    @rows.widening
    def shifted(sign, noise, sigmas, bits):
        def move(x, s, z, bits):
            shift = (sign * s * z).astype(z.dtype)
            return (x.astype(z.dtype) + hold(x, s, shift, bits)).astype(x.dtype)

        moved = map(move, leaves, sigmas, noise, bits)
        return jax.tree.unflatten(structure, list(moved))

    @rows.widening
    def score(noise, sigmas):
        return [(z / s).astype(float) for z, s in zip(noise, sigmas, strict=True)]

    def step(carry, t):
        center, plus, minus, score_sum, gradient = carry
        noise, sigmas, bits = draw(t // K)
        fresh = (t % K == 0) | (t % W == 0)
        if target.window is not None:
            branch = (t % W == 0) & (t > 0)
            choose = lambda arm: jax.tree.map(lambda c, x: jnp.where(branch, c, x), center, arm)
            plus, minus = choose(plus), choose(minus)
            score_sum = [jnp.where(t % W == 0, 0.0, c) for c in score_sum]
            center, _ = episode.step(params, center, t)
        fresh_score = score(noise, sigmas)
        score_sum = [
            c + jnp.where(fresh, s, 0.0) for c, s in zip(score_sum, fresh_score, strict=True)
        ]
        plus, above = episode.step(shifted(1, noise, sigmas, bits), plus, t)
        minus, below = episode.step(shifted(-1, noise, sigmas, bits), minus, t)
        derivative = jnp.asarray(above - below, float) / 2
        gradient = [g + derivative * c for g, c in zip(gradient, score_sum, strict=True)]
        return (center, plus, minus, score_sum, gradient), None

    nothing = [jnp.zeros(x.shape) for x in leaves]
    first = draw(jnp.zeros((), int))
    arms = (episode.start(shifted(1, *first)), episode.start(shifted(-1, *first)))
    carry = (episode.start(params), *arms, nothing, nothing)
    (*_, gradient), _ = jax.lax.scan(step, carry, jnp.arange(T))
    return jax.tree.unflatten(structure, gradient)
