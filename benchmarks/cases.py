"""What is measured: pairs of a problem and an estimator by name."""

import jax.numpy as jnp

import unspool
from unspool import data, problems
from unspool.problems import learned_optimizer


class Wide(unspool.AbstractProblem):
    """As many parameters as one likes, a small state, and one pass over the parameters a step."""

    num_params: int
    horizon: int = 100

    def init_params(self, *, key):
        return jnp.zeros(self.num_params)

    def init_state(self, params, *, key):
        return jnp.zeros(2)

    def step(self, params, state, t, *, key):
        state = 0.9 * state + jnp.mean(params)
        return state, jnp.sum((state - 1.0) ** 2)


def cases():
    """A function for each case, so that only the one that is run is built."""
    lorenz = problems.Lorenz
    of_lorenz = (
        unspool.NRES(200, 100, 0.04),
        unspool.PES(200, 100, 0.04),
        unspool.GPES(200, 100, 400, 0.04),
        unspool.ESSingle(200, 100, 0.04),
        unspool.FullES(10, 0.04),
        unspool.TruncatedES(200, 100, 0.04),
        unspool.DODGE(200, 100),
        unspool.ForwardGradient(200, 100),
        unspool.TBPTT(200, 100),
        unspool.BPTT(1),
        unspool.RTRL(200, 100),
        unspool.UORO(200, 100),
    )
    found = {f"lorenz {type(e).__name__}": lambda e=e: (lorenz(), e) for e in of_lorenz}
    for N in (10, 1000, 10_000, 100_000):
        found[f"lorenz N={N}"] = lambda N=N: (lorenz(), unspool.NRES(N, 100, 0.04))
    for W in (1, 10, 500, 2000):
        found[f"lorenz W={W}"] = lambda W=W: (lorenz(), unspool.NRES(200, W, 0.04))
    for T in (200, 20_000):
        found[f"lorenz T={T}"] = lambda T=T: (lorenz(horizon=T), unspool.NRES(200, 100, 0.04))
    found["toy regression"] = lambda: (problems.ToyRegression(), unspool.NRES(100, 10, 1.0))
    for W in (10, 1):
        found[f"learned optimizer W={W}"] = lambda W=W: (digits(), unspool.NRES(100, W, 0.01))
    for P in (10, 1000, 100_000, 1_000_000, 10_000_000):
        for name, wrap in (("", lambda e: e), (" in chunks", lambda e: unspool.Chunked(e, 1))):
            pair = lambda P=P, wrap=wrap: (Wide(P), wrap(unspool.NRES(16, 10, 0.1)))
            found[f"P={P}{name}"] = pair
    found["256 workers of 1000000 parameters in chunks"] = lambda: (
        Wide(1_000_000),
        unspool.Chunked(unspool.NRES(256, 10, 0.1), 8),
    )
    return found


def digits():
    """The published learned optimizer and network, on the digits that scikit-learn brings."""
    task = learned_optimizer.image_task(data.digits(), learned_optimizer.MLP())
    return learned_optimizer.OptimizerTraining(learned_optimizer.MLPOptimizer(), task)
