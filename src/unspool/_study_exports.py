"""The exports of `unspool` that few programs need: what commands do, as calls."""

from ._report.report import report as report
from .experiments.cite import cite as cite
from .experiments.own.apply import Applied as Applied
from .experiments.own.apply import apply_optimizer as apply_optimizer
from .experiments.own.compare import compare as compare
from .experiments.own.compare import resume_comparison as resume_comparison
from .experiments.own.comparison import Comparison as Comparison
from .experiments.own.comparison import ComparisonRow as ComparisonRow
from .experiments.own.play import Played as Played
from .experiments.own.play import play as play
from .experiments.own.tune import Tuned as Tuned
from .experiments.own.tune import tune as tune
