"""What directions that are drawn together by default gain and cost, with several estimators.

    python benchmarks/default_directions.py FILE.json [--only WORD]

For each case: the variance of one estimate, and of the mean over the estimates of an episode, each
over that with independent directions and the same keys, with intervals of 95 % by the jackknife
over seeds; and the CPU time of an estimate over that with independent directions. What FILE.json
holds of other cases is kept.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from cases import Wide
from variance import Case, compare

import unspool
from unspool import problems
from unspool._describe import environment
from unspool.experiments import LynxHareExperiment

PLACES = {"start": (3.116, 3.7), "(2.9, 3.44)": (2.9, 3.44), "optimum": np.log([10, 28]).tolist()}


def cases():
    """For each name a problem, its parameters, how many seeds, and an estimator in the making."""
    lorenz = {"num_workers": 200, "window": 100, "sigma": 0.04}
    small = {"num_workers": 100, "window": 10, "sigma": 0.1}
    found = {}
    for place, numbers in PLACES.items():
        case = Case(problems.Lorenz(), jnp.array(numbers), lorenz, 40)
        found[f"NRES, Lorenz, {place}"] = case, partial(unspool.NRES, **lorenz)
    start = Case(problems.Lorenz(), jnp.array(PLACES["start"]), lorenz, 40)
    found["PES, Lorenz, start"] = start, partial(unspool.PES, **lorenz)
    found["GPES, Lorenz, start"] = start, partial(unspool.GPES, period=400, **lorenz)
    grouped = partial(unspool.NRES, pairs_per_group=4, **lorenz)
    found["NRES in groups of 4, Lorenz, start"] = start, grouped
    found["TruncatedES, Lorenz, start"] = start, partial(unspool.TruncatedES, **lorenz)
    whole = partial(unspool.FullES, num_workers=20, sigma=0.04)
    found["FullES, Lorenz, start"] = start._replace(num_seeds=100), whole
    for num_params in (4, 10, 20, 100):
        found[f"NRES, linear, {num_params} parameters"] = at_start(Wide(num_params), small)
    found["NRES, lynx and hare"] = at_start(lynx_hare(), small)
    return found


def at_start(problem, settings):
    params = problem.init_params(key=jax.random.key(0))
    return Case(problem, params, settings, 40), partial(unspool.NRES, **settings)


def lynx_hare():
    return LynxHareExperiment().entries()[0].problem


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="", help="a word in the name of a case")
    options = parser.parse_args()
    contents = json.loads(options.file.read_text()) if options.file.exists() else {"ratios": {}}
    for name, (case, make) in cases().items():
        if options.only in name:
            independent = make(directions=unspool.GaussianDirections())
            contents["ratios"][name] = compare(case, independent, make())
            contents["environment"] = environment()
            print(name, contents["ratios"][name], flush=True)
            options.file.write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main()
