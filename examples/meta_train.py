"""An optimizer that is learned on a few small tasks, and then used in a loop of plain optax.

unspool train examples/meta_train.py:PROBLEM nres --num-workers 8 --window 10 --sigma 0.01 \
    --num-updates 200 --learning-rate 0.003
"""

import jax
import optax

import unspool
from unspool import data, export
from unspool.problems.learned_optimizer import (
    MLP,
    FactoredMLP,
    LogUniform,
    OptimizerTraining,
    TaskFamily,
    image_task,
)
from unspool.problems.schedules import Logarithm, ValidLoss

FAMILY = TaskFamily({"digits": data.digits()}, width=(4, 16), depth=(1, 2), batch_size=(16, 64))
# Before meta-training this is `optax.sgd(0.02, momentum=0.9)`, which is slow for these tasks.
OPTIMIZER = FactoredMLP(learning_rate=0.02, hidden=(8,))
PROBLEM = unspool.JointProblem(
    [
        OptimizerTraining(OPTIMIZER, task, 100, Logarithm(ValidLoss()), LogUniform(10))
        for task in FAMILY.sample(2)
    ]
)


def meta_loss(params):
    """The mean over the tasks, always on the same few runs of each."""
    return float(unspool.evaluate(PROBLEM, params, key=jax.random.key(1), num_episodes=10).loss)


def train_with(optimizer, task, num_steps=100):
    """A training loop that knows nothing of this library; the loss of all examples held out."""
    key = jax.random.key(2)
    weights = task.model.init(key)
    state = optimizer.init(weights)

    @jax.jit
    def step(t, weights, state):
        batch = task.data.draw_train(jax.random.fold_in(key, t))
        gradients = jax.grad(task.model.loss)(weights, batch)
        updates, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    for t in range(num_steps):
        weights, state = step(t, weights, state)
    return float(task.model.loss(weights, task.data.valid))


def main():
    estimator, key = unspool.NRES(num_workers=8, window=10, sigma=0.01), jax.random.key(0)
    before = meta_loss(PROBLEM.init_params(key=key))
    for record in unspool.train(PROBLEM, estimator, optax.adam(3e-3), num_updates=100, key=key):
        if record.update % 25 == 0:
            print(f"after {record.update} updates, meta-loss {record.loss:.3f}")
    after = meta_loss(record.params)
    print(f"meta-loss {before:.3f} before, {after:.3f} after")

    export.save_optimizer(OPTIMIZER, record.params, "optimizer.safetensors")
    larger = image_task(data.digits(), MLP((64, 48, 10)), batch_size=32)
    learned = train_with(export.load_optimizer("optimizer.safetensors"), larger)
    descent = train_with(optax.sgd(0.02, momentum=0.9), larger)
    print(f"a larger network: {learned:.3f} with it, {descent:.3f} with where it started")
    return before, after, learned, descent


if __name__ == "__main__":
    main()
