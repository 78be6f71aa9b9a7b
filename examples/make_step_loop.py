"""A training loop of one's own: `make_step` gives two pure functions, and the rest is yours.

Here the loop averages the parameters over time, which the trainer does not, and an optax chain
clips gradients.
"""

import jax
import optax

import unspool

NUM_UPDATES = 400


def main():
    problem, key = unspool.problems.LinearQuadratic(horizon=60, noise=0.5), jax.random.key(0)
    estimator = unspool.NRES(num_workers=50, window=10, sigma=0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.02))
    init, step = unspool.make_step(problem, estimator, optimizer)

    @jax.jit
    def run(state):
        def update(carry, _):
            state, average = carry
            state, estimate = step(state)
            average = optax.incremental_update(state.params, average, 0.02)
            return (state, average), estimate.loss

        return jax.lax.scan(update, (state, state.params), length=NUM_UPDATES)

    start = problem.init_params(key=key)
    (state, average), _ = run(init(start, key=key))
    losses = {}
    for name, params in (("start", start), ("last", state.params), ("averaged", average)):
        losses[name] = float(unspool.evaluate(problem, params, key=key, num_episodes=1000).loss)
        print(f"{name} parameters: loss {losses[name]:.4f}")
    return losses


if __name__ == "__main__":
    main()
