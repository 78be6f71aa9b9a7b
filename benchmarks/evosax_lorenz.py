"""Noise-reuse ES of evosax on Lorenz: ask, unroll and tell in one compiled loop.

    PYTHON benchmarks/evosax_lorenz.py

with an interpreter that has evosax. One window position for all members, as its interface has it;
the same arithmetic in every step as the library's problem, and a population of 200 pairs.
"""

import json
import os
import statistics
import time

os.environ.setdefault("NPROC", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from evosax.algorithms import NoiseReuseES

HORIZON, WINDOW, PAIRS, SIGMA, DT = 2000, 100, 200, 0.04, 0.005
START = (1.2, 1.3, 1.6)
COUNT, LOOPS = 200, 5


def move(state, rates):
    (x, y, z), (a, r) = state, rates
    return (
        x + DT * a * (y - x),
        y + DT * ((r - z) * x - y),
        z + DT * (x * y - 8 / 3 * z),
    )


def true_heights():
    state, heights = START, []
    for _ in range(HORIZON):
        state = move(state, (10.0, 28.0))
        heights.append(state[2])
    return np.array(heights, np.float32)


def main():
    heights = jnp.asarray(true_heights())
    es = NoiseReuseES(
        population_size=2 * PAIRS,
        solution=jnp.zeros(2),
        optimizer=optax.sgd(1e-5),
        std_schedule=optax.constant_schedule(SIGMA),
    )
    settings = es.default_params.replace(T=HORIZON, K=WINDOW)
    start = tuple(jnp.full(2 * PAIRS, x) for x in START)

    def update(carry, key):
        es_state, states, t = carry
        members, es_state = es.ask(key, es_state, settings)
        rates = jnp.exp(members).T
        states = jax.tree.map(lambda old, new: jnp.where(t == 0, new, old), states, start)

        def step(carry, i):
            states, losses = carry
            states = move(states, rates)
            return (states, losses + (states[2] - heights[t + i]) ** 2), None

        zero = jnp.zeros(2 * PAIRS)
        (states, losses), _ = jax.lax.scan(step, (states, zero), jnp.arange(WINDOW))
        es_state, _ = es.tell(key, members, losses / WINDOW, es_state, settings)
        return (es_state, states, (t + WINDOW) % HORIZON), losses.mean()

    run = jax.jit(lambda carry, keys: jax.lax.scan(update, carry, keys))
    keys = jax.random.split(jax.random.key(0), COUNT)
    es_state = es.init(keys[0], jnp.array([3.116, 3.7]), settings)
    carry = (es_state, start, jnp.array(0))
    times = []
    for _ in range(LOOPS + 2):
        began = time.process_time()
        jax.block_until_ready(run(carry, keys))
        times.append(time.process_time() - began)
    print(json.dumps({"cpu_s": statistics.median(times[2:]) / COUNT}))


if __name__ == "__main__":
    main()
