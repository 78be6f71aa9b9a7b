"""What an estimate costs: CPU and wall time, compilation, memory, and how near it is to a floor."""

import resource
import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import unspool
from unspool._describe import describe
from unspool._engine import as_engine

LOOPS = 5
SECONDS_PER_LOOP = 0.3


def measure(problem, estimator):
    """One row of the table: medians of five loops, each of so many estimates that it can be timed.

    `outside` is the share of an estimate that its unrolls, run by themselves, do not account for;
    where steps are differentiated, or workers run in chunks, unrolls cannot be told apart.
    """
    engine, key = as_engine(problem), jax.random.key(0)
    params = engine.init_params(key=key)
    before = peak_bytes()
    init, state = timed(lambda: estimator.init(engine, params, key=key))
    first, _ = timed(estimator.estimate, engine, params, state)
    again, _ = timed(estimator.estimate, engine, params, state)
    count = max(1, min(500, int(SECONDS_PER_LOOP / again["cpu"])))
    estimates = repeat_estimate(engine, estimator, params, count)
    mixed = estimator.plan(engine.horizon).needs_derivatives or isinstance(
        estimator, unspool.Chunked
    )
    unrolls = None if mixed else repeat_unroll(engine, estimator, params, count)
    loops = []
    for _ in range(LOOPS + 1):
        whole, _ = timed(estimates, state)
        part = whole if unrolls is None else timed(unrolls, state[0].trajectories)[0]
        loops.append((whole, part["cpu"]))
    loops = loops[1:]
    cpu = statistics.median(whole["cpu"] for whole, _ in loops) / count
    outside = 1 - min(part for _, part in loops) / min(whole["cpu"] for whole, _ in loops)
    flops = flops_of_step(engine, params) * estimator.plan(engine.horizon).num_steps
    memory = unspool.predict_memory(engine, estimator, optax.sgd(0.1), params)
    return {
        "estimator": describe(estimator),
        "problem": type(engine.problem).__name__,
        "num_params": sum(x.size for x in jax.tree.leaves(params)),
        "steps": estimator.plan(engine.horizon).num_steps,
        "cpu_s": cpu,
        "wall_s": statistics.median(whole["wall"] for whole, _ in loops) / count,
        "outside": None if mixed else outside,
        "steps_per_cpu_s": estimator.plan(engine.horizon).num_steps / cpu,
        "flops_per_cpu_s": flops / cpu,
        "init_cpu_s": init["cpu"],
        "compile_cpu_s": first["cpu"] - again["cpu"],
        "state_bytes": memory.state,
        "work_bytes": memory.work,
        "peak_bytes": peak_bytes() - before,
    }


def repeat_estimate(engine, estimator, params, count):
    """One estimate after another in a compiled loop, as in training."""

    @eqx.filter_jit
    def run(state):
        def once(state, _):
            estimate, state = estimator.estimate(engine, params, state)
            return state, (estimate.grad, estimate.loss, estimate.stats)

        state, history = jax.lax.scan(once, state, length=count)
        return state, jax.tree.map(lambda x: x[-1], history)

    return run


def repeat_unroll(engine, estimator, params, count):
    """The unrolls of that loop and nothing else: no noise, no resets, no sums."""
    plan = estimator.plan(engine.horizon)
    shape = plan.num_rows // plan.num_groups, plan.num_groups
    one = lambda p: 1e-6 * jnp.ones((*shape, *p.shape), p.dtype)
    shift = jax.tree.map(one, params)

    @eqx.filter_jit
    def run(trajectories):
        none_done = eqx.tree_at(lambda x: x.arms.done, trajectories, trajectories.arms.done & False)

        def once(state, _):
            before = eqx.tree_at(lambda x: x.arms.state, none_done, state)
            after, losses = engine.unroll(params, before, plan.num_sequential_steps, shift)
            return after.arms.state, jnp.sum(losses)

        return jax.lax.scan(once, trajectories.arms.state, length=count)

    return run


def flops_of_step(engine, params):
    """The compiler's count for one step of one trajectory."""
    key = jax.random.key(0)
    state = engine.problem.init_state(params, key=key)
    step = lambda p, s, t: engine.problem.step(p, s, t, key=key)
    cost = jax.jit(step).lower(params, state, jnp.zeros((), int)).compile().cost_analysis()
    return cost.get("flops", 0.0)


def timed(function, *arguments):
    cpu, wall = time.process_time(), time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}, result


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def floors():
    """What one core can do at most: multiply-adds, and bytes to and from memory."""
    size = 1024
    matrix = jnp.ones((size, size))
    multiply = jax.jit(lambda x: x @ x)
    length = 2**24
    vectors = jnp.ones((2, length))
    triad = jax.jit(lambda x: x[0] + 0.5 * x[1])
    timed(multiply, matrix), timed(triad, vectors)
    best = lambda f, x: min(timed(f, x)[0]["cpu"] for _ in range(10))
    return {
        "flops_per_cpu_s": 2 * size**3 / best(multiply, matrix),
        "bytes_per_cpu_s": 3 * 4 * length / best(triad, vectors),
    }
