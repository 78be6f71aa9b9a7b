"""What the tests of networks share with those of the tasks that train them."""

import math

import jax
import numpy as np

from unspool.problems.learned_optimizer import classifier

DRAW = np.random.default_rng(0)
CLIP = 1.5 * math.log(10)


def weights_of(network, seed=0):
    return classifier(network).init(jax.random.key(seed))
