"""How high must a ball be dropped for a hand to catch it? Derivatives of contacts mislead.

The hand waits half a meter above the floor, and closes 1.6 seconds after the drop; the ball has
bounced two or three times by then. The simulator is a few lines of JAX and can be differentiated,
but its bounces happen at whole steps, and a derivative holds them there: it says that a ball from
a centimeter higher up is a centimeter higher ever after. In truth it bounces later, and is behind.
Smoothed by perturbations, the loss has the right slope.
"""

import jax
import jax.numpy as jnp
import optax

import unspool

NUM_UPDATES, START, SIGMA = 100, 1.5, 0.04
GRAVITY, RESTITUTION, DT = 9.81, 0.85, 0.01


class Catch(unspool.AbstractProblem):
    """The height of a drop, in meters, after which the ball is in the hand in time."""

    horizon: int = 160
    hand: float = 0.5
    closing: int = 10

    def init_params(self, *, key):
        return jnp.array(START)

    def init_state(self, params, *, key):
        return params, jnp.zeros(())

    def step(self, params, state, t, *, key):
        height, speed = state
        speed = speed - DT * GRAVITY
        height = height + DT * speed
        bounces = (height < 0) & (speed < 0)
        speed = jnp.where(bounces, -RESTITUTION * speed, speed)
        # While the hand closes, how far the ball is away counts; the mean is over all steps.
        closes = t >= self.horizon - self.closing
        loss = jnp.where(closes, (height - self.hand) ** 2, 0.0)
        return (height, speed), loss * self.horizon / self.closing


def main():
    problem, key, found = Catch(), jax.random.key(0), {}
    estimators = {
        "BPTT": unspool.BPTT(num_workers=1),
        "NRES": unspool.NRES(num_workers=40, window=40, sigma=SIGMA),
        "PES": unspool.PES(num_workers=40, window=40, sigma=SIGMA),
    }
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, NUM_UPDATES))
    for name, estimator in estimators.items():
        *_, last = unspool.train(problem, estimator, optimizer, num_updates=NUM_UPDATES, key=key)
        loss = float(unspool.evaluate(problem, last.params, key=key).loss)
        found[name] = float(last.params), loss**0.5
        print(f"{name}: dropped from {last.params:.2f} m, {100 * loss**0.5:.0f} cm off")
    return found


if __name__ == "__main__":
    main()
