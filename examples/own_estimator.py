"""An estimator of one's own in one small file: NRES whose workers start at random places.

The library spreads workers evenly over the episode; published experiments drew each worker's
place by itself. The mean is the same, and `check_unbiased` confirms it.
"""

from typing import ClassVar

import equinox as eqx
import jax

import unspool
from unspool.extend import AbstractPerturbed, Antithetic, Sigma, Tableau, as_sigma

NUM_CHAINS = 300


class ScatteredNRES(AbstractPerturbed):
    """`NRES`, with every worker's first place in the episode drawn by itself."""

    num_workers: int
    window: int
    sigma: Sigma = eqx.field(converter=as_sigma)
    estimand: ClassVar[str] = "smoothed gradient"

    @property
    def tableau(self) -> Tableau:
        return Tableau(
            window=self.window,
            period=None,
            probe=Antithetic(),
            sigma=self.sigma,
            phases=unspool.IndependentPhases(),
        )


def main():
    problem, key = unspool.problems.LinearQuadratic(), jax.random.key(0)
    params = problem.init_params(key=key)
    estimator = ScatteredNRES(num_workers=4, window=3, sigma=0.1)
    targets = {
        "promised": estimator.plan(problem.horizon).target,
        "truncated": unspool.Target(window=3, sigma=0.1),
    }
    tests = {}
    for name, target in targets.items():
        tests[name] = unspool.check_unbiased(
            problem,
            estimator,
            key=key,
            reference=problem.exact_gradient(params, target),
            num_chains=NUM_CHAINS,
        )
        verdict = "accepted" if tests[name].passed else "rejected"
        print(f"the {name} gradient is {verdict}, p = {tests[name].p_value:.2g}")
    return tests


if __name__ == "__main__":
    main()
