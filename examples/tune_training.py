"""The learning rate and the weight decay of a network, tuned from parts of its training runs.

unspool tune examples/tune_training.py:problem
"""

import jax
import jax.numpy as jnp
import optax

import unspool
from unspool import data, export
from unspool.problems.schedules import Constant, Cosine, Data, Model, ModelTraining, ValidLoss


def init(key):
    key, last = jax.random.split(key)
    return {
        "hidden": jax.random.normal(key, (64, 32)) / 8,
        "last": jax.random.normal(last, (32, 10)) / 6,
    }


def score(weights, images):
    return jax.nn.relu(images @ weights["hidden"]) @ weights["last"]


def loss(weights, batch):
    images, labels = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(score(weights, images), labels)
    return jnp.mean(losses)


def accuracy(weights, batch):
    images, labels = batch
    return jnp.mean(jnp.argmax(score(weights, images), axis=1) == labels)


train, valid = data.split(data.digits(), 1400, 397)
problem = ModelTraining(
    model=Model(init, loss, accuracy),
    data=Data(tuple(train), tuple(valid), batch_size=64),
    make_optimizer=optax.adamw,
    space={"learning_rate": Cosine(1e-3, 1e-4), "weight_decay": Constant(1e-3)},
    horizon=500,
    objective=ValidLoss(),
)


def main():
    estimator, key = unspool.NRES(num_workers=10, window=50, sigma=0.1), jax.random.key(0)
    losses = []
    for record in unspool.train(problem, estimator, optax.adam(0.05), num_updates=60, key=key):
        losses.append(record.loss)
        if record.update % 10 == 0:
            print(record.update, record.loss, problem.natural_units(record.params))
    export.save(problem, record.params, "tuned.json")
    return losses


if __name__ == "__main__":
    main()
