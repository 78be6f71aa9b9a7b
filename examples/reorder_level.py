"""When to order and how much: every decision is a jump, so derivatives tell the wrong story.

A shop orders when its stock falls below one level, and fills it up to another. Reverse mode sees
that goods on the shelf cost money, and nothing of what a jump brings: it empties the shop. NRES
measures what happens.
"""

import jax
import jax.numpy as jnp
import optax

import unspool

NUM_UPDATES = 200


class ReorderLevel(unspool.AbstractProblem):
    """Two levels of a stock: order below the one, fill up to the other."""

    horizon: int = 200

    def init_params(self, *, key):
        return {"order_below": jnp.array(1.0), "fill_up_to": jnp.array(4.0)}

    def init_state(self, params, *, key):
        return params["fill_up_to"]

    def step(self, params, stock, t, *, key):
        orders = stock < params["order_below"]
        stock = jnp.where(orders, params["fill_up_to"], stock)
        demand = jax.random.exponential(key)
        sold_out = demand > stock
        stock = jnp.maximum(stock - demand, 0.0)
        return stock, 2.0 * orders + 0.1 * stock + 5.0 * sold_out


def main():
    problem, key, losses = ReorderLevel(), jax.random.key(0), {}
    estimators = {
        "BPTT": unspool.BPTT(num_workers=20),
        "NRES": unspool.NRES(num_workers=50, window=20, sigma=0.3),
    }
    for name, estimator in estimators.items():
        for record in unspool.train(
            problem, estimator, optax.adam(0.05), num_updates=NUM_UPDATES, key=key
        ):
            params = record.params
        evaluation = unspool.evaluate(problem, params, key=key, num_episodes=1000)
        losses[name] = float(evaluation.loss)
        levels = ", ".join(f"{level} {x:.2f}" for level, x in params.items())
        print(f"{name}: loss {losses[name]:.3f} at {levels}")
    return losses


if __name__ == "__main__":
    main()
