"""Several problems with the same parameters, or one."""

from collections.abc import Sequence

import equinox as eqx
from jaxtyping import PyTree

from ._black_box import AbstractBlackBox
from ._custom_types import KeyLike, Params
from ._engine import AbstractEngine, as_engine
from ._engine.completed import complete
from ._params import Fixed
from ._problem import AbstractProblem
from ._show import show


class JointProblem(eqx.Module):
    r"""Several problems that share their parameters, with one gradient.

    $$ L(\theta) = \frac{1}{n} \sum_{k=1}^{n} L_k(\theta) $$

    Every estimator takes it wherever it takes a problem, and then has all of its workers on each
    of the problems: `NRES(32, 10)` on three problems has 96. States may differ from problem to
    problem in everything; losses ought to be of one scale, for what is summed are gradients.
    The problems are run one after the other, each in a program of its own, so that compilation
    takes as many times as long as there are problems.

    Each problem's gradient is the mean over its own healthy workers, so that one of whose workers
    many fail counts as much as the others. If one has no healthy worker, there is no estimate.

    **Arguments:** `problems`, or engines for them, of one horizon (episodes may be shorter by way
    of `Episodes`) and with parameters of one structure. The first one draws where to start.

    **Raises:** `ValueError` for no problems, or horizons that differ.

    **Example:**

    >>> goals = [unspool.problems.FinalLoss(goal=goal) for goal in (1.0, 3.0)]
    >>> problem = unspool.JointProblem(goals)
    >>> params = problem.init_params(key=jax.random.key(0))
    >>> print(f"{unspool.evaluate(problem, params, key=jax.random.key(1)).loss:.2f}")
    0.40
    """

    engines: tuple[AbstractEngine, ...]

    __repr__ = show

    def __init__(self, problems: Sequence[AbstractEngine | AbstractProblem | AbstractBlackBox]):
        self.engines = tuple(map(as_engine, problems))
        if not self.engines:
            raise ValueError("problems must have one entry at least, got none")
        horizons = [engine.horizon for engine in self.engines]
        if len(set(horizons)) > 1:
            raise ValueError(
                f"problems must have one horizon, got {horizons}; shorter episodes are a matter of "
                "Episodes(draw_length=...)"
            )

    @property
    def horizon(self) -> int:
        return self.engines[0].horizon

    @property
    def copies_states(self) -> bool:
        """True if a trajectory of any problem can go on from the state of another."""
        return all(engine.copies_states for engine in self.engines)

    @property
    def fixed_length(self) -> bool:
        """True if every episode is known to have `horizon` steps."""
        return all(engine.fixed_length for engine in self.engines)

    @property
    def failures(self) -> tuple[str, ...]:
        """The last few tracebacks of what went wrong outside of JAX."""
        return tuple(text for engine in self.engines for text in engine.failures)

    def init_params(self, *, key: KeyLike) -> Params:
        """The parameters that training starts from."""
        return self.engines[0].init_params(key=key)

    def check(self, params: Params) -> None:
        """Raises `ValueError` or `TypeError` if trajectories cannot run with these parameters."""
        for engine in self.engines:
            engine.check(params)

    def complete(self, fixed: Fixed) -> "JointProblem":
        """The problems for the part of the parameters that is trained, given the rest."""
        return JointProblem([complete(engine, fixed) for engine in self.engines])

    def settle(self, results: PyTree) -> PyTree:
        """Results of a program that has run the problems; see `AbstractEngine.settle`."""
        for engine in self.engines:
            results = engine.settle(results)
        return results


AnyProblem = AbstractProblem | AbstractBlackBox | AbstractEngine | JointProblem
"""A problem, an engine that runs one, or several of them."""


def as_joint(problem: AnyProblem) -> JointProblem:
    """Several problems as they are; one problem as the only one of several."""
    return problem if isinstance(problem, JointProblem) else JointProblem([problem])
