"""The mean of an estimator by quadrature, and the gradient that it promises, on polynomial losses.

The rule of Gauss and Hermite with three nodes, one for each coordinate of each noise, takes the
mean of a polynomial of degree five without an error; a table of all signs, that of any function.
"""

import dataclasses
import functools as ft
import itertools
import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import unspool
from unspool._estimator.perturbed import AbstractPerturbed
from unspool.extend import AbstractDirections

HORIZON, SIZE = 6, 2


class Polynomial(unspool.AbstractProblem):
    """A start that the parameters make, a state that adds them up and fades, a cubic loss."""

    start: jax.Array
    fade: jax.Array
    loss: jax.Array
    share: jax.Array
    horizon: int = eqx.field(default=HORIZON, static=True)

    def init_params(self, *, key):
        return {"level": jnp.array(0.4), "slope": jnp.array(0.2)}

    def init_state(self, params, *, key):
        return self.start[0] * params["level"] + self.start[1] * params["slope"] ** 2

    def step(self, params, state, t, *, key):
        state = self.fade * state + params["level"] + params["slope"] * (t - 1)
        return state, self.share[t] * jnp.sum(self.loss * state ** jnp.arange(1, 4))


def polynomial(*, start=(0.0, 0.0), fade=1.0, loss=(0.0, 0.0, 0.0), share=(1.0,) * HORIZON):
    return Polynomial(*(jnp.asarray(x, float) for x in (start, fade, loss, share)))


def stack(*each):
    """Problems along the first axis of every leaf, so that one program runs them all."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


@dataclasses.dataclass
class Table:
    """All that may be drawn in an episode, and how much each counts."""

    entries: jax.Array
    weights: jax.Array

    def mean(self, of_entry):
        """The mean of a tree that depends on what is drawn."""
        found = jax.vmap(of_entry)(self.entries)
        return jax.tree.map(lambda x: jnp.tensordot(self.weights, x, 1), found)


def table(nodes, weights, *shape):
    """Of independent draws, by the nodes of a rule and their weights."""
    chosen = np.array(list(itertools.product(range(len(nodes)), repeat=math.prod(shape))))
    entries = np.asarray(nodes)[chosen].reshape(-1, *shape)
    weights = np.asarray(weights) / np.sum(weights)
    return Table(jnp.asarray(entries), jnp.asarray(weights[chosen].prod(axis=1)))


def gaussian(period, num_episodes=1):
    """The noises of episodes, each kept for so many steps."""
    num_blocks = -(-HORIZON // (period or HORIZON))
    return table(*np.polynomial.hermite_e.hermegauss(3), num_episodes, num_blocks, SIZE)


def nothing():
    """Where nothing is drawn."""
    return Table(jnp.zeros((1, 0)), jnp.ones(1))


class Fixed(AbstractDirections):
    """Directions that are looked up by the episode and the block, the same for all workers.

    After as many episodes as there are in the table the first comes again.
    """

    entry: jax.Array

    def couples_episodes(self, pairs):
        return False

    def draw(self, params, draw):
        episode = draw.numbers[0] // draw.num_directions % len(self.entry)
        level, slope = self.entry[episode, draw.block]
        return {"level": level[None], "slope": slope[None]}


class Rigged(AbstractPerturbed):
    """An estimator that looks its directions up."""

    estimator: AbstractPerturbed
    entry: jax.Array
    estimand: ClassVar[str] = "the other's"

    @property
    def num_workers(self):
        return self.estimator.num_workers

    @property
    def tableau(self):
        return dataclasses.replace(self.estimator.tableau, directions=Fixed(self.entry))

    def learn(self, workers, sums):
        return self.estimator.learn(workers, sums)


def average(windows):
    """Over the estimates of an episode."""
    return jax.tree.map(ft.partial(jnp.mean, axis=0), windows)


def mean(rig, table, problems, of=average, num_episodes=1):
    """The mean of the estimator `rig(entry)`, in each of some problems.

    Or of what `of` makes of the estimates of so many episodes, one a window.
    """

    @jax.jit
    @jax.vmap
    def of_problem(problem):
        return table.mean(lambda entry: of(_windows(rig(entry), problem, num_episodes)))

    return of_problem(problems)


def mean_of_perturbed(estimator, problems, of=average, num_episodes=1):
    table = gaussian(estimator.tableau.period, num_episodes)
    rig = lambda entry: Rigged(estimator, entry)
    return mean(rig, table, problems, of, num_episodes)


def _windows(estimator, problem, num_episodes):
    """The estimates of some episodes. All workers' are alike, so that any as many make up one."""
    params = problem.init_params(key=None)
    state = estimator.init_workers(problem, params, jax.random.key(0))
    plan = estimator.plan(problem.horizon)
    num_windows, num_warmup = plan.num_windows, plan.num_warmup_windows

    def window(state, _):
        estimate, state = estimator.estimate(problem, params, state)
        return state, estimate.grad

    length = num_warmup + num_episodes * num_windows
    _, grads = jax.lax.scan(window, state, length=length)
    return jax.tree.map(lambda g: g[num_warmup:], grads)


def promised(target, problems):
    """The gradient that a `Target` describes, word by word, in each of some problems."""
    W, K = target.window or HORIZON, target.period or HORIZON

    def loss(shift, problem, params, noises):
        """Of an episode whose copies of the parameters are moved by a common shift."""
        scale = lambda name: target.sigma[name] if isinstance(target.sigma, dict) else target.sigma

        def copy(t):
            noise = dict(zip(params, noises[t // K], strict=True))
            return {name: x + scale(name) * noise[name] + shift[name] for name, x in params.items()}

        calm, state = (problem.init_state(x, key=None) for x in (params, copy(0)))
        total = 0.0
        for t in range(HORIZON):
            if t > 0 and t % W == 0:
                state = calm
            state, loss = problem.step(copy(t), state, t, key=None)
            calm, _ = problem.step(params, calm, t, key=None)
            total += loss / HORIZON
        return total

    @jax.jit
    @jax.vmap
    def of_problem(problem):
        params = problem.init_params(key=None)
        no_shift = jax.tree.map(jnp.zeros_like, params)
        return gaussian(K).mean(lambda entry: jax.grad(loss)(no_shift, problem, params, entry[0]))

    return of_problem(problems)


def error(found, right):
    """By how much a mean is off, in parts of the gradient; in each of some problems."""
    norm = lambda tree: np.sqrt(sum(np.square(leaf) for leaf in jax.tree.leaves(tree)))
    return norm(jax.tree.map(np.subtract, found, right)) / norm(right)
