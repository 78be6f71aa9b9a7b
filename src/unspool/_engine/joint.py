"""Several problems with the same parameters, trained at once."""

from collections.abc import Sequence
from typing import NoReturn

from .._custom_types import KeyLike, Params
from .base import AbstractEngine
from .wrap import AnyEngine, as_engine

_NOT_ONE = "a JointEngine has several problems, whose trajectories differ: ask one of its `engines`"


class JointEngine(AbstractEngine):
    r"""Several problems that share their parameters, with one gradient.

    $$ L(\theta) = \frac{1}{n} \sum_{k=1}^{n} L_k(\theta) $$

    Every estimator takes it wherever it takes a problem, and then has all of its workers on each
    of the problems: `NRES(32, 10)` on three problems has 96. States may differ from problem to
    problem in everything; losses ought to be of one scale, for what is summed are gradients.
    The problems are run one after the other, each in a program of its own, so that compilation
    takes as many times as long as there are problems.

    Each problem's gradient is the mean over its own healthy workers, so that one of whose workers
    many fail counts as much as the others. If one has no healthy worker, there is no estimate.

    **Arguments:** `engines`, problems or engines of one horizon (lengths may differ by way of
    `draw_length`) and with parameters of one structure. The first one draws where to start.

    **Raises:** `ValueError` for no engines, or horizons that differ.

    **Example:**

    >>> problems = [unspool.problems.FinalLoss(goal=goal) for goal in (1.0, 3.0)]
    >>> engine = unspool.JointEngine(problems)
    >>> params = engine.init_params(key=jax.random.key(0))
    >>> print(f"{unspool.evaluate(engine, params, key=jax.random.key(1)).loss:.2f}")
    0.40
    """

    engines: tuple[AbstractEngine, ...]

    def __init__(self, engines: Sequence[AnyEngine]):
        self.engines = tuple(map(as_engine, engines))
        if not self.engines:
            raise ValueError("engines must have one problem at least, got none")
        horizons = [engine.horizon for engine in self.engines]
        if len(set(horizons)) > 1:
            raise ValueError(
                f"engines must have one horizon, got {horizons}; shorter episodes are a matter of "
                "draw_length"
            )

    @property
    def parts(self) -> tuple[AbstractEngine, ...]:
        return self.engines

    @property
    def horizon(self) -> int:
        return self.engines[0].horizon

    @property
    def differentiable(self) -> bool:
        return all(engine.differentiable for engine in self.engines)

    @property
    def fixed_length(self) -> bool:
        return all(engine.fixed_length for engine in self.engines)

    @property
    def copies_states(self) -> bool:
        return all(engine.copies_states for engine in self.engines)

    @property
    def failures(self) -> tuple[str, ...]:
        return tuple(text for engine in self.engines for text in engine.failures)

    def init_params(self, *, key: KeyLike) -> Params:
        return self.engines[0].init_params(key=key)

    def check(self, params: Params) -> None:
        for engine in self.engines:
            engine.check(params)

    def start(self, params, keys, shift=None) -> NoReturn:
        raise ValueError(_NOT_ONE)

    def unroll(self, params, trajectories, num_steps, shift=None) -> NoReturn:
        raise ValueError(_NOT_ONE)
