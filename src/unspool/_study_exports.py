"""The exports of `unspool` that build on the others: what its commands do, as calls."""

from .experiments.own.apply import Applied as Applied
from .experiments.own.apply import apply_optimizer as apply_optimizer
from .experiments.own.play import Played as Played
from .experiments.own.play import play as play
from .experiments.own.tune import Tuned as Tuned
from .experiments.own.tune import tune as tune
