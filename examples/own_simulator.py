"""Somebody else's simulator, trained as it is: the thermostat of a house through a week of winter.

The house is plain Python and knows nothing of this library. What joins the two is `Heating`.
"""

import dataclasses
import random

import jax
import jax.numpy as jnp
import optax

import unspool

NUM_UPDATES = 100


class House:
    """A house that loses heat to a changing weather, hour by hour; the heater costs money."""

    def reset(self, seed):
        self.random = random.Random(seed)
        self.hour, self.indoors, self.outdoors = 0, 18.0, 0.0
        return self.indoors, self.hour

    def step(self, heater_on):
        self.outdoors += self.random.gauss(0.0, 0.7) - 0.05 * self.outdoors
        self.indoors += 0.1 * (self.outdoors - self.indoors) + (4.0 if heater_on else 0.0)
        self.hour = (self.hour + 1) % 24
        at_home = not 8 <= self.hour < 17
        cold = max(0.0, 20.0 - self.indoors) if at_home else 0.0
        cost = 1.0 * heater_on + 0.5 * cold
        return (self.indoors, self.hour), cost


@dataclasses.dataclass(frozen=True)
class Heating(unspool.AbstractSimulatorProblem):
    """Below which temperature to heat, for four parts of the day."""

    horizon: int = 7 * 24

    def init_params(self, *, key):
        return jnp.full(4, 15.0)

    def make(self):
        return House()

    def reset(self, simulator, params, *, seed):
        simulator.seen = simulator.reset(seed)

    def step(self, simulator, action):
        indoors, hour = simulator.seen
        simulator.seen, cost = simulator.step(indoors < action[hour // 6])
        return cost, False


def main():
    problem, key = Heating(), jax.random.key(0)
    estimator = unspool.NRES(num_workers=20, window=24, sigma=0.7)
    before = unspool.evaluate(problem, problem.init_params(key=key), key=key, num_episodes=200)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.5, NUM_UPDATES))
    for record in unspool.train(problem, estimator, optimizer, num_updates=NUM_UPDATES, key=key):
        params = record.params
    after = unspool.evaluate(problem, params, key=key, num_episodes=200)
    levels = ", ".join(f"{level:.1f}" for level in params)
    print(f"cost per hour {before.loss:.3f}, then {after.loss:.3f}; heat below {levels} degrees")
    return float(before.loss), float(after.loss), params


if __name__ == "__main__":
    main()
