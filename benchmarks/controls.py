"""How much less the estimates of `ControlledNRES` vary than those of `NRES`, and what they cost.

    python benchmarks/controls.py FILE.json [--only WORD]

At each place: the variance of one estimate, and of the mean over the estimates of an episode, each
over that of `NRES` with as many pairs, the same keys, groups and directions, with intervals of
95 % by the jackknife over seeds. The first two episodes, in which coefficients have not seen much,
are left out. The cost is CPU time of an estimate over that of `NRES`, unperturbed arms and their
reverse pass included. What FILE.json holds of other places is kept.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from variance import Case, compare

import unspool
from unspool import data, problems
from unspool._describe import environment
from unspool.problems import learned_optimizer


class Recurrent(unspool.AbstractProblem):
    """A tanh net of 193 parameters that keeps a sum of those inputs that are marked."""

    shares_data: bool = False
    horizon: int = 100

    def init_params(self, *, key):
        keys = jax.random.split(key, 3)
        draw = lambda key, *shape: jax.random.normal(key, shape) / shape[-1] ** 0.5
        matrices = {"hidden": draw(keys[0], 12, 12), "input": draw(keys[1], 12, 2)}
        return matrices | {
            "output": draw(keys[2], 12),
            "bias": jnp.zeros(12),
            "level": jnp.zeros(()),
        }

    def init_state(self, params, *, key):
        return jnp.zeros(12), jnp.zeros(())

    def step(self, params, state, t, *, key):
        hidden, target = state
        key = jax.random.fold_in(jax.random.key(0), t) if self.shares_data else key
        value, mark = jax.random.uniform(key, (2,))
        inputs = jnp.stack([value, jnp.where(mark < 0.2, 1.0, 0.0)])
        target = 0.95 * target + jnp.prod(inputs)
        hidden = jnp.tanh(params["hidden"] @ hidden + params["input"] @ inputs + params["bias"])
        loss = (params["output"] @ hidden + params["level"] - target) ** 2
        return (hidden, target), loss


def cases() -> dict[str, Callable[[], Case]]:
    """A function for each case, so that only those that are run are built."""
    found = {}
    of_toy = {"num_workers": 100, "window": 10, "sigma": 1.0}
    for place in ((-4.0, -4.0), (0.0, 0.0), (2.7, -3.0)):
        found[f"toy regression, {place}"] = lambda place=place: Case(
            problems.ToyRegression(), jnp.array(place), of_toy, 100
        )
    of_lorenz = {"num_workers": 200, "window": 100, "sigma": 0.04}
    optimum = np.log([10.0, 28.0]).tolist()
    for name, place in (
        ("start", (3.116, 3.7)),
        ("(2.9, 3.44)", (2.9, 3.44)),
        ("optimum", optimum),
    ):
        found[f"Lorenz, {name}"] = lambda place=place: Case(
            problems.Lorenz(), jnp.array(place), of_lorenz, 30
        )
    of_net = {"num_workers": 40, "window": 10, "sigma": 0.01, "pairs_per_group": 4}
    for name, shares in (("fixed data", True), ("data of each group", False)):
        found[f"recurrent net, {name}"] = lambda shares=shares: at_start(
            Recurrent(shares), of_net, 24
        )
    found["learned optimizer, start"] = lambda: at_start(digits(), of_net, 8)
    found["learned optimizer, trained a little"] = lambda: trained(digits(), of_net, 8)
    return found


def digits():
    """The published learned optimizer and network, on the digits that scikit-learn brings."""
    task = learned_optimizer.image_task(data.digits(), learned_optimizer.MLP())
    optimizer = learned_optimizer.MLPOptimizer()
    return learned_optimizer.OptimizerTraining(optimizer, task, horizon=100)


def at_start(problem, settings, num_seeds):
    return Case(problem, problem.init_params(key=jax.random.key(0)), settings, num_seeds)


def trained(problem, settings, num_seeds):
    estimator, key = unspool.ControlledNRES(**settings), jax.random.key(1)
    adam = optax.adam(0.003)
    *_, record = unspool.train(problem, estimator, adam, num_updates=50, log_every=50, key=key)
    return Case(problem, record.params, settings, num_seeds)


def measure(case: Case) -> dict[str, Any]:
    """The ratios at one place."""
    independent = case.settings | {"directions": unspool.GaussianDirections()}
    plain, controlled = unspool.NRES(**independent), unspool.ControlledNRES(**independent)
    size = sum(np.size(x) for x in jax.tree.leaves(case.params))
    settings = case.settings | {"horizon": case.problem.horizon, "num_params": size}
    return compare(case, plain, controlled) | {"settings": settings}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="", help="a word in the name of a place")
    options = parser.parse_args()
    contents = json.loads(options.file.read_text()) if options.file.exists() else {"ratios": {}}
    for name, make in cases().items():
        if options.only in name:
            contents["ratios"][name] = measure(make())
            contents["environment"] = environment()
            print(name, contents["ratios"][name], flush=True)
            options.file.write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main()
