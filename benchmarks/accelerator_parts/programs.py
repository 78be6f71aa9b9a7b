"""A training as one compiled loop: what it takes to compile, to run and to hold."""

import statistics
import time

import jax
import jax.numpy as jnp
from measure import flops_of_step

import unspool
from unspool._engine import as_engine
from unspool._memory import read_memory

from .launches import count_launches
from .peaks import share_of_peak

ROUNDS = 3
MOST_UPDATES = 2000


def compile_training(problem, estimator, optimizer):
    """The compiled start and loop of updates, with the seconds that each took.

    The loop takes the state and the number of updates, and returns the state and the last loss.
    With a number that is not compiled in, a GPU asks the host once an update whether to go on.
    """
    engine, key = as_engine(problem), jax.random.key(0)
    params = engine.init_params(key=key)
    init, step = unspool.make_step(engine, estimator, optimizer)

    def start(params, key):
        return init(params, key=key)

    def run(state, count):
        def update(_, carry):
            state, estimate = step(carry[0])
            return state, estimate.loss

        return jax.lax.fori_loop(0, count, update, (state, jnp.zeros(())))

    begin, seconds = compile_timed(jax.jit(start), params, key)
    state = jax.eval_shape(start, params, key)
    count = jax.ShapeDtypeStruct((), jnp.int32)
    loop, of_loop = compile_timed(jax.jit(run, donate_argnums=0), state, count)
    seconds = {f"start_{name}": value for name, value in seconds.items()} | of_loop
    return lambda: begin(params, key), loop, seconds


def compile_timed(function, *arguments):
    began = time.perf_counter()
    lowered = function.lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    seconds = {"trace_s": traced - began, "compile_s": time.perf_counter() - traced}
    return program, seconds


def measure_training(problem, estimator, optimizer, small, unit="float32"):
    """A row: seconds per update on a warm device, and what they are spent on.

    `unit` names the arithmetic whose peak the operations are held against. Raises `MemoryError`
    before anything is run if the program does not fit.
    """
    begin, loop, seconds = compile_training(problem, estimator, optimizer)
    memory = read_memory(loop)
    memory.check()
    state = jax.block_until_ready(begin())
    per_update, loss = time_updates(loop, state, 0.02 if small else 0.5)
    horizon = problem.horizon
    num_steps = estimator.plan(horizon).num_steps
    flops = num_steps * flops_on_cpu(problem)
    launches = count_launches(loop.as_text())
    sequential = estimator.plan(horizon).num_sequential_steps
    return seconds | {
        "seconds_per_update": statistics.median(per_update),
        "seconds_of_rounds": per_update,
        "steps_per_second": num_steps / statistics.median(per_update),
        "flops_per_second": flops / statistics.median(per_update),
        "share_of_peak": share_of_peak(flops / statistics.median(per_update), unit),
        "launches_per_step": None if launches is None else launches / sequential,
        "state_bytes": memory.state,
        "work_bytes": memory.work,
        "loss": loss,
    }


def time_updates(loop, state, seconds):
    """Seconds per update of each round, every round a call that is about so long, and a loss."""

    def call(state, count):
        began = time.perf_counter()
        state, loss = jax.block_until_ready(loop(state, jnp.asarray(count, jnp.int32)))
        return time.perf_counter() - began, state, float(loss)

    # The first call may load and set up what the others find ready.
    first, state, loss = call(state, 1)
    if first > 10 * seconds:
        return [first], loss
    once, state, _ = call(state, 1)
    count = max(1, min(MOST_UPDATES, int(seconds / once)))
    rounds = []
    for _ in range(ROUNDS):
        spent, state, loss = call(state, count)
        rounds.append(spent / count)
    return rounds, loss


def flops_on_cpu(problem):
    """XLA's count for one step of one trajectory, by its compiler for the CPU on any machine."""
    with jax.default_device(jax.devices("cpu")[0]):
        engine = as_engine(problem)
        return flops_of_step(engine, engine.init_params(key=jax.random.key(0)))
