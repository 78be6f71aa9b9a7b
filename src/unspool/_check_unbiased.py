"""The proof by simulation that an estimator's mean is what it should be."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from . import _rows as rows
from ._chains import ChainPlan, run_chains, simulate_references
from ._counts import as_count
from ._custom_types import KeyLike, Params
from ._engine import LocalEngine
from ._estimator import AbstractEstimator
from ._joint import AnyProblem, as_joint
from ._params import match, split
from ._programs import call_program
from ._random import Purpose, as_key, stream
from ._show import as_table, one_line, show_tree
from ._verdict import Decision, judge

_ROUNDING = 1e3
_LEAST_CHAINS = 30


class BiasTest(NamedTuple):
    """The outcome of `check_unbiased`: an estimator's mean next to the gradient it should be.

    - `passed`: whether the `verdict` is `"unbiased"`.
    - `verdict`: `"unbiased"`; `"biased"`, if `p_value` is below the level asked for; or
      `"not decided"`, if the run could not have seen a bias as large as the gradient, if its tails
      are too heavy to know, or if workers were dropped.
    - `reason`: why, in a sentence.
    - `p_value`: the chance that an unbiased estimator strays as far in some coordinate.
    - `z`: deviation from the reference in standard errors, Student's t of `num_chains - 1` degrees.
    - `mean`, `reference`: the two gradients, flat; `standard_error` is that of their difference.
    - `detectable`: the bias that a run like this one sees in nine of ten cases, in the units of
      the gradient.
    - `num_chains`, `num_estimates`: independent chains, and estimates made in each.
    - `dropped`: workers left out; where failures depend on the noise, that is a bias of its own.
    """

    passed: bool
    verdict: Decision
    reason: str
    p_value: float
    z: Float[np.ndarray, " params"]
    mean: Float[np.ndarray, " params"]
    reference: Float[np.ndarray, " params"]
    standard_error: Float[np.ndarray, " params"]
    detectable: Float[np.ndarray, " params"]
    num_chains: int
    num_estimates: int
    dropped: int

    def __repr__(self) -> str:
        return one_line("BiasTest", self._facts())

    def _facts(self) -> dict[str, str]:
        facts = {"verdict": repr(self.verdict), "reason": repr(self.reason)}
        facts["p_value"] = f"{self.p_value:.3g}"
        for name in ("mean", "reference", "standard_error"):
            # More digits than errors allow would only hide what is to be compared.
            rounded = [float(f"{x:.3g}") for x in getattr(self, name)]
            facts[name] = show_tree(np.array(rounded))
        return facts | {"num_chains": f"{self.num_chains}", "dropped": f"{self.dropped}"}

    def _repr_html_(self) -> str:
        said = {"verdict": self.verdict, "reason": self.reason}
        return as_table("BiasTest", self._facts() | said)


def check_unbiased(
    problem: AnyProblem,
    estimator: AbstractEstimator,
    *,
    key: KeyLike,
    params: Params | None = None,
    reference: Params | None = None,
    num_chains: int = 1000,
    level: float = 1e-3,
) -> BiasTest:
    r"""Tests whether an estimator's mean is the gradient it promises, on a problem of yours.

    $$ t_p = \frac{\mathrm{mean}_c \big( A_{c,p} - R_{c,p} \big)}{\text{standard error}} $$

    with $A_c$ what a chain's estimates add up to for each of its episodes, and $R_c$ the mean
    gradient of as many episodes, simulated from the definition. Parameters stay fixed. Chains are
    independent and alike, so that $t_p$ follows Student's law; the largest is judged, with
    Bonferroni's correction, once what skewed noise does to it is taken off.

    If episodes differ in length, or sigma follows a schedule, $A_c$ is made of whole episodes, and
    each has one in $R_c$ with its number and with the sigmas of the updates at which its noises
    were drawn. When an episode begins depends on earlier ones, its own data and noise do not:
    the mean of $A_c - R_c$ is zero whenever episodes begin.

    **Arguments:**

    - `problem`, `estimator`: what is tested on what. Chains of simulators that keep their state
      to themselves run one after the other.
    - `key`: all randomness; another key is another test.
    - `params`: where; by default the problem's `init_params`.
    - `reference`: the right answer, if known in closed form: the gradient of the expected total
      loss of an episode, divided by the horizon, for the estimator's `target(horizon)`, as a tree
      like the parameters or flat; of a `JointProblem` the mean over its problems. By default it is
      simulated from the definition; on the host, where that cannot be, it has to be given.
    - `num_chains`: independent chains, at least 30. More find smaller biases. Few are longer: there
      are 2000 episodes at least, and two of every worker.
    - `level`: how improbable a deviation must be to fail, between 0 and 1.

    **Returns:** a `BiasTest`; look at `verdict`, `reason`, and at `z`.

    **Raises:** `ValueError` for too few chains, a level that is none, parameters or a reference
    that do not fit, or no `reference` where there has to be one.

    **Example:**

    >>> problem = unspool.problems.Cubic(horizon=4)
    >>> estimator = unspool.NRES(num_workers=2, window=2, sigma=0.1)
    >>> test = unspool.check_unbiased(problem, estimator, key=jax.random.key(0), num_chains=100)
    >>> test.verdict, test.z.shape
    ('unbiased', (2,))
    """
    num_chains = as_count("num_chains", num_chains, least=_LEAST_CHAINS)
    if not 0 < level < 1:
        raise ValueError(f"level must be above 0 and below 1, got {level!r}")
    joint, key = as_joint(problem), as_key(key)
    if params is None:
        params = joint.init_params(key=stream(key, Purpose.PARAMS))
    joint.check(params)
    trained, _ = split(params)
    given = None if reference is None else _flatten_reference(reference, trained)
    if given is None and (odd := [x for x in joint.engines if not isinstance(x, LocalEngine)]):
        raise ValueError(
            f"reference must be given for {type(odd[0]).__name__}: only problems in JAX can be "
            "simulated from the definition"
        )
    plan = ChainPlan.of(joint, estimator, num_chains)
    keys = jax.random.split(stream(key, Purpose.CHAIN), num_chains)
    chains = call_program(run_chains, joint, estimator, params, keys, plan)
    mean, starts, dropped = joint.settle(chains)
    mean, dropped = np.asarray(mean, np.float64), int(np.sum(dropped))
    if given is None:
        simulated = call_program(simulate_references, joint, estimator, params, starts)
        expected = np.asarray(simulated, np.float64)
        given = expected.mean(0)
    else:
        expected = given
    size = np.max(np.abs(given))
    found = judge(mean - expected, size, size * _rounding(trained), level)
    decision, reason = found.decision, found.reason
    if dropped:
        decision = "biased" if decision == "biased" else "not decided"
        reason = f"{dropped} workers were dropped, and those left do not stand for all; {reason}"
    return BiasTest(
        passed=decision == "unbiased",
        verdict=decision,
        reason=reason,
        p_value=found.p_value,
        z=found.statistics.z,
        mean=mean.mean(0),
        reference=given,
        standard_error=found.statistics.noise,
        detectable=found.detectable,
        num_chains=num_chains,
        num_estimates=plan.num_estimates,
        dropped=dropped,
    )


def _rounding(trained: Params) -> Float[np.ndarray, " params"]:
    """By how much of its size rounding may move each entry of a gradient."""
    leaves = jax.tree.leaves(trained)
    # Gradients are added up in float32 at least, and rounded to the type of the parameters once.
    eps = lambda x: float(jnp.finfo(x.dtype).eps)
    errors = [_ROUNDING * eps(rows.widen(x)) + eps(x) for x in leaves]
    return np.repeat(errors, [x.size for x in leaves])


def _flatten_reference(reference: Params, trained: Params) -> Float[np.ndarray, " params"]:
    size = rows.ravel(trained)[0].size
    if getattr(reference, "shape", None) == (size,):
        return np.asarray(reference, np.float64)
    try:
        flat = rows.ravel(match(trained, reference))[0]
    except ValueError:
        raise ValueError(
            f"reference must be a tree like what is trained, {jax.tree.structure(trained)}, "
            f"got {jax.tree.structure(reference)}"
        ) from None
    if flat.size != size:
        raise ValueError(
            f"reference must have as many numbers as the parameters, {size}, got {flat.size}"
        )
    return np.asarray(flat, np.float64)
