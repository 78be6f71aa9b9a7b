"""Ratios of the variance of estimates, with intervals, and of what they cost."""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree

EPISODES_LEFT_OUT, EPISODES_MEASURED = 2, 2


class Case(NamedTuple):
    """A problem at some parameters, how `NRES` estimates its gradient, and with how many seeds."""

    problem: Any
    params: Any
    settings: dict[str, Any]
    num_seeds: int


def compare(case: Case, plain, other) -> dict[str, Any]:
    """The ratios of another estimator to a plain one, with the same keys.

    Those of variances come with the ends of their intervals of 95 %.
    """
    found, cost = zip(*(estimates(case, estimator) for estimator in (plain, other)), strict=True)
    update, episode = (ratio(*map(of, found)) for of in (of_updates, of_episodes))
    cost = round(cost[1] / cost[0], 2)
    return {"update": update, "episode": episode, "cost": cost, "num_seeds": case.num_seeds}


def estimates(case: Case, estimator) -> tuple[np.ndarray, float]:
    """Gradients of seeds x episodes x windows, and the CPU seconds of an estimate."""
    num_windows = estimator.plan(case.problem.horizon).num_windows
    num_updates = num_windows * (EPISODES_LEFT_OUT + EPISODES_MEASURED)

    @eqx.filter_jit
    def run(state):
        def step(state, _):
            estimate, state = estimator.estimate(case.problem, case.params, state)
            return state, ravel_pytree(estimate.grad)[0]

        return jax.lax.scan(step, state, length=num_updates)[1]

    grads, seconds = [], []
    for key in jax.random.split(jax.random.key(7), case.num_seeds):
        state = jax.block_until_ready(estimator.init(case.problem, case.params, key=key))
        before = time.process_time()
        grads.append(np.asarray(run(state), float))
        seconds.append(time.process_time() - before)
    grads = np.stack(grads).reshape(case.num_seeds, -1, num_windows, grads[0].shape[-1])
    # The first of all includes compilation.
    return grads[:, EPISODES_LEFT_OUT:], float(np.median(seconds[1:])) / num_updates


def of_updates(grads):
    return grads.reshape(len(grads), -1)


def of_episodes(grads):
    return grads.mean(axis=2).reshape(len(grads), -1)


def ratio(plain: np.ndarray, controlled: np.ndarray) -> list[float]:
    """The second total variance over the first, with the ends of its interval."""
    total = lambda values: values.var(axis=0, ddof=1).sum()
    log_ratio = lambda *pair: np.log(total(pair[1]) / total(pair[0]))
    whole, count = log_ratio(plain, controlled), len(plain)
    left_out = [
        log_ratio(*(np.delete(values, i, axis=0) for values in (plain, controlled)))
        for i in range(count)
    ]
    error = np.std(left_out) * (count - 1) ** 0.5
    return [float(f"{np.exp(whole + z * error):.3g}") for z in (0, -1.96, 1.96)]
