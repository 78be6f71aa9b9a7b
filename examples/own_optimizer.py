"""A learned optimizer of one's own: meta-trained by NRES, and used in a loop of one's own."""

import jax
import jax.numpy as jnp
import optax

import unspool
from unspool import data
from unspool.problems.learned_optimizer import AbstractLearnedOptimizer, OptimizerTraining, Task
from unspool.problems.schedules import Data, Model

HORIZON = 50


class SoftSign(AbstractLearnedOptimizer):
    """Steps along the sign of a momentum, softened; rate, decay and softness are learned."""

    learning_rate: float = 1e-3

    def init_params(self, *, key):
        zero = jnp.zeros(())
        rate = jnp.log(self.learning_rate)
        return {"log_rate": rate, "log_softness": zero, "logit_decay": zero}

    def init(self, weights):
        return jax.tree.map(jnp.zeros_like, weights)

    def update(self, params, gradients, state, weights, t):
        decay = jax.nn.sigmoid(params["logit_decay"])
        state = jax.tree.map(lambda m, g: decay * m + (1 - decay) * g, state, gradients)

        def step(m):
            scale = jnp.exp(params["log_softness"]) * jnp.sqrt(jnp.mean(m**2) + 1e-16)
            return -jnp.exp(params["log_rate"]) * jnp.tanh(m / scale)

        return jax.tree.map(step, state), state


def init(key):
    hidden, last = jax.random.split(key)
    return jax.random.normal(hidden, (64, 16)) / 8, jax.random.normal(last, (16, 10)) / 4


def loss(weights, batch):
    images, labels = batch
    scores = jax.nn.relu(images @ weights[0]) @ weights[1]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scores, labels))


train, valid = data.split(data.digits(), 1400, 397)
task = Task(Model(init, loss), Data(tuple(train), tuple(valid), batch_size=32))
problem = OptimizerTraining(optimizer=SoftSign(), task=task, horizon=HORIZON)


def main():
    estimator, key = unspool.NRES(num_workers=10, window=10, sigma=0.1), jax.random.key(0)
    for record in unspool.train(problem, estimator, optax.adam(0.1), num_updates=60, key=key):
        if record.update % 20 == 0:
            print(f"after {record.update} updates, rate {jnp.exp(record.params['log_rate']):.4f}")
    evaluations = []
    for params in problem.init_params(key=key), record.params:
        evaluations.append(unspool.evaluate(problem, params, key=key, num_episodes=20))
        print(f"loss {evaluations[-1].loss:.3f} +- {evaluations[-1].standard_error:.3f}")

    optimizer, weights = problem.optimizer, init(key)
    state, before = optimizer.init(weights), float(loss(weights, valid))
    for t in range(HORIZON):
        batch = task.data.draw_train(jax.random.fold_in(key, t))
        gradients = jax.grad(loss)(weights, batch)
        updates, state = optimizer.update(record.params, gradients, state, weights, jnp.array(t))
        weights = optax.apply_updates(weights, updates)
    after = float(loss(weights, valid))
    print(f"held out, from {before:.3f} to {after:.3f} in {HORIZON} steps")
    return evaluations, before, after


if __name__ == "__main__":
    main()
