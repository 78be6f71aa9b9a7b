"""The trainer: many updates in one compiled loop, a record now and then."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from ._counts import LARGEST, as_count
from ._custom_types import KeyLike, Params
from ._estimator import AbstractEstimator
from ._joint import AnyProblem, as_joint
from ._limits import warn_of_long_start
from ._make_step import TrainState, begin, find_state_shape
from ._memory import Memory, read_memory
from ._optimizer import AnyOptimizer
from ._programs import Program
from ._progress import with_progress
from ._random import Purpose, as_key, stream
from ._updates import Job, Record, Training, compile_updates, make_records, spread_workers


def train(
    problem: AnyProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    *,
    num_updates: int,
    key: KeyLike,
    params: Params | None = None,
    state: TrainState | None = None,
    log_every: int | None = None,
    throw: bool = True,
    progress: bool = False,
) -> Iterator[Record]:
    """Trains a problem's parameters, and yields a `Record` every `log_every` updates.

    The updates between two records are one compiled loop that the host does not interrupt.

    **Arguments:**

    - `problem`: a problem, an engine that runs one, or a `JointProblem`.
    - `estimator`, `optimizer`: how gradients are estimated, and any optax optimizer.
    - `num_updates`: updates to make in all, below 2**31; those that `state` has behind it count.
    - `key`: the one source of randomness. Not used when going on from `state`.
    - `params`: where to start; by default what the problem's `init_params` gives. Real floating
      point arrays are trained; whatever else the tree holds goes along as it is.
    - `state`: where to go on: a `Record`'s state, or a loaded checkpoint. The bits are those of
      a run that never stopped.
    - `log_every`: updates between records; by default a hundredth of `num_updates`.
    - `throw`: whether to raise `TrainingError`, after the record that shows it, when over the last
      ten records clearly more than half of the workers failed, when clearly fewer than 5 % of the
      episodes get to their end, or when at the end of training not a single update could be
      made, or not a single episode of known length has come to its end.
    - `progress`: show a bar with the loss in a terminal or a notebook, and a line for every tenth
      of the updates in a log. A bar needs tqdm: `pip install 'unspool[notebook]'`.

    **Raises:** `ValueError` for counts that are no integers of at least 1, parameters that are not
    finite floats, or an optimizer that needs more than gradients and losses; `MemoryError` before
    anything is run, if it would not fit; `TrainingError` before episodes have no numbers left.

    **Example:**

    >>> problem, key = unspool.problems.InfluenceBalancing(), jax.random.key(0)
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1)
    >>> optimizer = optax.adam(0.02)
    >>> for record in unspool.train(problem, estimator, optimizer, num_updates=400, key=key):
    ...     pass
    >>> print(record.update, f"{record.loss:.1f}")
    400 0.5
    """
    compiled = compile_training(
        problem,
        estimator,
        optimizer,
        num_updates=num_updates,
        key=key,
        params=params,
        state=state,
        log_every=log_every,
    )
    training = compiled.begin(key) if state is None else compiled.go_on(state)
    records = make_records(training, throw)
    if not progress:
        return records
    return with_progress(records, training.num_updates, made=int(training.state.update))


class Compiled(NamedTuple):
    """A training that is compiled, and not begun.

    - `job`: problem, estimator and optimizer.
    - `params`: where it starts; `None` if it goes on from a state.
    - `state_shape`: the shapes and types of what passes from one update to the next.
    - `program`, `num_updates`, `log_every`: as in `Training`.
    """

    job: Job
    params: Params | None
    state_shape: TrainState
    program: Program
    num_updates: int
    log_every: int

    @property
    def memory(self) -> Memory:
        """The bytes that it needs."""
        return read_memory(self.program.compiled)

    def begin(self, key: KeyLike) -> Training:
        """The training before its first update, with its workers spread."""
        self.memory.check()
        joint, estimator, _ = self.job
        warn_of_long_start(joint, estimator, self.num_updates)
        estimator.check_start(joint, self.params, key)
        state = begin(*self.job, params=self.params, key=as_key(key))
        return self.go_on(spread_workers(self.program, self.job, state))

    def go_on(self, state: TrainState) -> Training:
        """The training from a state on."""
        return Training(self.job, self.program, state, self.num_updates, self.log_every)


def compile_training(
    problem: AnyProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    *,
    num_updates: Any,
    key: KeyLike,
    params: Params | None = None,
    state: TrainState | None = None,
    log_every: Any = None,
) -> Compiled:
    """Compiles a training, traced anew, and runs nothing of it.

    **Arguments** as for `train`, and as much is raised, but for `TrainingError` and `MemoryError`.
    Counts may be anything, and are checked here.
    """
    num_updates = as_count("num_updates", num_updates, most=LARGEST)
    if log_every is None:
        log_every = max(1, num_updates // 100)
    log_every = min(as_count("log_every", log_every), num_updates)
    joint = as_joint(problem)
    job = joint, estimator, optimizer
    if state is None:
        if params is None:
            params = joint.init_params(key=stream(as_key(key), Purpose.PARAMS))
        joint.check(params)
        state = find_state_shape(*job, params=params)
    program = compile_updates(job, state, log_every)
    return Compiled(job, params, state, program, num_updates, log_every)


def predict_memory(
    problem: AnyProblem,
    estimator: AbstractEstimator,
    optimizer: AnyOptimizer,
    params: Params,
    *,
    log_every: int = 1,
) -> Memory:
    """Predicts how many bytes of memory `train` will need, before anything is run.

    The numbers are the compiler's: the program is compiled, and kept for `train` with the same
    arguments.

    **Arguments:** as for `train`; `params` may be arrays or `jax.ShapeDtypeStruct`s.

    **Returns:** a `Memory`, whose numbers are bytes.

    **Raises:** `ValueError` as `train` does.

    **Example:**

    >>> problem = unspool.problems.InfluenceBalancing()
    >>> estimator = unspool.NRES(num_workers=100, window=10, sigma=0.1)
    >>> memory = unspool.predict_memory(problem, estimator, optax.adam(0.02), jnp.array(0.5))
    >>> memory.state > 100 * 2 * 23 * 4  # 100 pairs of states, each of 23 numbers of 4 bytes
    True
    """
    job = (as_joint(problem), estimator, optimizer)
    log_every = as_count("log_every", log_every)
    state = find_state_shape(*job, params=params)
    return read_memory(compile_updates(job, state, log_every).compiled)
