"""The published meta-training on Fashion-MNIST: how long to a meta-loss of 0.610?"""

import functools as ft
import time
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import unspool
from unspool import data
from unspool.problems.learned_optimizer import MLP, MLPOptimizer, OptimizerTraining, image_task

from .part import Column, Part, in_turn

# Li et al. (2023), NRES: of the mean over five seeds, with evaluations left out.
LEVEL, PUBLISHED_SECONDS, PUBLISHED_UPDATES = 0.610, 691.7, 20_000
SEEDS = (53, 59, 61, 67, 71)
# Besides what the last evaluation took, for the checkpoint and for updates up to the next record.
MARGIN_SECONDS = 10.0


class Plan(NamedTuple):
    """Updates at most, updates between records, and records that are evaluated together."""

    num_updates: int
    log_every: int
    at_once: int


def measure(settings, before, left):
    plan = Plan(12, 2, 3) if settings.small else Plan(60_000, 100, 20)
    training = ft.cache(lambda: published_training(settings.data, settings.small))

    def one(seed, left):
        checkpoint = settings.out / f"fashion-mnist-{seed}.npz"
        points = before.get(f"seed {seed}", {}).get("points", [])
        yield from meta_train(training(), plan, seed, checkpoint, points, left)

    seeds = SEEDS[:1] if settings.small else SEEDS
    cases = {f"seed {seed}": ft.partial(one, seed) for seed in seeds}
    yield from in_turn(cases, before, left)


def published_training(data_dir, small=False):
    """Problem, estimator and optimizer; raises `FileNotFoundError` without the images.

    The experiment `lopt-fashion-mnist` has the same, and needs packages for its report.
    """
    images = data.resize(data.fashion_mnist(data_dir).train, 8)
    sizes, batch_size, horizon, num_workers = MLP().sizes, 128, 1000, 100
    if small:
        sizes, batch_size, horizon, num_workers = (64, 4, 10), 4, 8, 4
    problem = OptimizerTraining(
        MLPOptimizer(),
        image_task(images, MLP(sizes), batch_size),
        horizon=horizon,
        sequence_seed=88,
        init_seed=2,
    )
    return (
        problem,
        unspool.NRES(num_workers, 1, 0.01, directions=unspool.GaussianDirections()),
        optax.adam(3e-4, eps_root=1e-8),
    )


def meta_train(training, plan, seed, checkpoint, points, left):
    """Yields the row whenever records were evaluated, until the level is reached or time is up.

    A row comes before the checkpoint of the same update: points beyond a checkpoint are left out
    and found anew, and none is missing.
    """
    (problem, estimator, optimizer), key = training, jax.random.key(seed)
    params = problem.init_params(key=key)
    evaluate = evaluator(problem, plan.at_once)
    state, points = load(training, params, key, checkpoint, points)
    began = time.monotonic()
    first = evaluate([params])[0]
    evaluation = time.monotonic() - began
    if not points:
        # The way to the first records is long: workers run through an episode before.
        points = [[0, 0.0, first]]
        yield describe(points) | {"complete": False}
    spent, pending = points[-1][1], []
    records = unspool.train(
        problem, estimator, optimizer, num_updates=plan.num_updates, key=key, params=params,
        state=state, log_every=plan.log_every,
    )  # fmt: skip
    for record in records:
        pending.append((record.update, spent + record.seconds, record.params))
        is_last = record.update == plan.num_updates
        is_late = left() < MARGIN_SECONDS + evaluation
        if len(pending) < plan.at_once and not (is_last or is_late):
            continue
        began = time.monotonic()
        losses = evaluate([params for _, _, params in pending])
        evaluation = time.monotonic() - began
        points += [[*found[:2], loss] for found, loss in zip(pending, losses, strict=True)]
        pending = []
        row = describe(points)
        is_done = is_last or row["reached_s"] is not None
        yield row | {"complete": is_done}
        if is_done:
            checkpoint.unlink(missing_ok=True)
            return
        unspool.save_checkpoint(checkpoint, record.state)
        if is_late:
            return


def load(training, params, key, checkpoint, points):
    """The state of the checkpoint with the points up to there, or nothing of either."""
    if not checkpoint.exists() or not points:
        return None, []
    init, _ = unspool.make_step(*training)
    like = eqx.filter_eval_shape(lambda params, key: init(params, key=key), params, key)
    state = unspool.load_checkpoint(checkpoint, like)
    # A loss that is no number is null in the file.
    points = [[n, s, np.nan if loss is None else loss] for n, s, loss in points]
    return state, [point for point in points if point[0] <= int(state.update)]


def evaluator(problem, at_once):
    """The meta-losses of up to so many parameters, by one program whatever their number."""
    # The inner run is always the same, so that one episode is all there are.
    loss = lambda params: unspool.evaluate(problem, params, key=jax.random.key(0)).loss
    run = jax.jit(jax.vmap(loss))

    def evaluate(params):
        padded = [*params, *params[-1:] * (at_once - len(params))]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)
        return np.asarray(run(stacked))[: len(params)].tolist()

    return evaluate


def describe(points):
    """The row: the points are pairs of an update, the seconds up to there, and the meta-loss."""
    update, seconds, loss = points[-1]
    reached = next((point for point in points if point[2] <= LEVEL), None)
    return {
        "updates": update,
        "seconds": seconds,
        "seconds_per_update": seconds / update if update else None,
        "loss": loss,
        "reached_update": reached and reached[0],
        "reached_s": reached and reached[1],
        "published_update": PUBLISHED_UPDATES,
        "published_s": PUBLISHED_SECONDS,
        "times_faster": PUBLISHED_SECONDS / reached[1] if reached else None,
        "points": points,
    }


PART = Part(
    "fashion-mnist",
    "Meta-training on Fashion-MNIST at the published size, NRES, to a meta-loss of 0.610",
    0.35,
    (
        Column("updates", "updates", "d"),
        Column("seconds_per_update", "s/update"),
        Column("loss", "meta-loss", ".3f"),
        Column("reached_update", "at 0.610", "d"),
        Column("reached_s", "seconds", ".1f"),
        Column("published_update", "published: update", "d"),
        Column("published_s", "seconds", ".1f"),
        Column("times_faster", "faster", ".1f"),
    ),
    measure,
)
