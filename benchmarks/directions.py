"""How much less the estimates of `NRES` vary with directions that are drawn together, on Lorenz.

    python benchmarks/directions.py FILE.json

At each place and sigma: the variance of one estimate, and of the mean over the estimates of an
episode, each over that with independent directions.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import unspool

NUM_SEEDS, NUM_WINDOWS = 150, 20
PROBLEM = unspool.problems.Lorenz()
PLACES = {
    "start": [3.116, 3.7],
    "on the way": [2.9, 3.44],
    "optimum": np.log([10.0, 28.0]).tolist(),
}
KINDS = {"lattice": unspool.LatticeDirections(), "orthogonal": unspool.OrthogonalDirections(2)}


def main():
    found = {}
    for place, numbers in PLACES.items():
        for sigma in (0.04, 0.16):
            independent = variances(unspool.GaussianDirections(), jnp.array(numbers), sigma)
            for kind, directions in KINDS.items():
                ratio = variances(directions, jnp.array(numbers), sigma) / independent
                name = f"{kind}, {place}, sigma {sigma}"
                found[name] = dict(
                    zip(("estimate", "episode"), ratio.round(3).tolist(), strict=True)
                )
                print(name, found[name], flush=True)
    contents = {"num_seeds": NUM_SEEDS, "ratios": found}
    Path(sys.argv[1]).write_text(json.dumps(contents, indent=1) + "\n")


def variances(directions, params, sigma):
    """Of an estimate in the mean over an episode's windows, and of an episode's mean."""
    estimator = unspool.NRES(200, 100, sigma, directions=directions)

    def episode(key):
        state = estimator.init(PROBLEM, params, key=key)
        step = lambda state, _: estimator.estimate(PROBLEM, params, state)[::-1]
        return jax.lax.scan(step, state, length=NUM_WINDOWS)[1].grad

    keys = jax.random.split(jax.random.key(7), NUM_SEEDS)
    grads = np.asarray(jax.jit(lambda keys: jax.lax.map(episode, keys))(keys), float)
    return np.array([grads.var(0).mean(0).sum(), grads.mean(1).var(0).sum()])


if __name__ == "__main__":
    main()
