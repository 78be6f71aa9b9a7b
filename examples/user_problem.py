"""Your own problem in one file: a pendulum's length and friction, from the angles observed.

The same from the command line: `unspool train examples/user_problem.py:Pendulum nres`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool

NUM_UPDATES = 400


def swing(angle, speed, length, friction, dt=0.05):
    """The angle and its speed one step later."""
    speed = speed - dt * (9.81 / length * jnp.sin(angle) + friction * speed)
    return angle + dt * speed, speed


def observe(horizon, length=1.0, friction=0.2, noise=0.02):
    """Angles as a file would hold them; here they are simulated."""
    angles, state = [], (2.0, 0.0)
    for _ in range(horizon):
        state = swing(*state, length, friction)
        angles.append(float(state[0]))
    return np.array(angles) + noise * np.random.default_rng(0).normal(size=horizon)


OBSERVED = observe(200)


class Pendulum(unspool.AbstractProblem):
    """Length and friction of a pendulum, from its angles."""

    horizon: int = 200

    def init_params(self, *, key):
        return {"log_length": jnp.log(1.5), "log_friction": jnp.log(0.5)}

    def init_state(self, params, *, key):
        return {"angle": jnp.array(2.0), "speed": jnp.array(0.0)}

    def step(self, params, state, t, *, key):
        length, friction = jnp.exp(params["log_length"]), jnp.exp(params["log_friction"])
        angle, speed = swing(state["angle"], state["speed"], length, friction)
        return {"angle": angle, "speed": speed}, (angle - jnp.array(OBSERVED, float)[t]) ** 2


def main():
    problem, key = Pendulum(), jax.random.key(0)
    estimator = unspool.NRES(num_workers=100, window=20, sigma=0.03)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, NUM_UPDATES))
    for record in unspool.train(problem, estimator, optimizer, num_updates=NUM_UPDATES, key=key):
        params = record.params
    length = float(jnp.exp(params["log_length"]))
    friction = float(jnp.exp(params["log_friction"]))
    loss = float(unspool.evaluate(problem, params, key=key).loss)
    print(f"length {length:.3f}, friction {friction:.3f}, loss {loss:.4f}")
    return length, friction, loss


if __name__ == "__main__":
    main()
