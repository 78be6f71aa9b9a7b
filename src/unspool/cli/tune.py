"""`unspool tune`: the hyperparameters of one's own training run, from parts of such runs."""

from collections.abc import Sequence
from pathlib import Path

from .._config import names
from .._config.build import make_object
from .._config.options import Option
from .._config.train_config import Spec
from ..experiments.own.tune import Tuned
from ..experiments.own.tune import tune as _tune
from .errors import UsageError, as_flags, as_usage_errors
from .loggers import log_option, log_settings, logger_parts
from .parse import parse
from .parts import find_part, groups_of, split_words
from .show_experiment import show_experiment

_ABOUT = """\
Tune the hyperparameters of a training run of yours from parts of such runs:
unspool tune FILE.py:PROBLEM [ESTIMATOR] [options]

PROBLEM is an instance of unspool.problems.schedules.ModelTraining; ESTIMATOR is nres unless another
is named: {}. What is finished in the directory is kept, so that a second call goes on.
It ends with a page of figures, report.html, and with tuned.json, which unspool.export reads."""
_NUM_WORKERS = 20


def tune(argv: Sequence[str]) -> int:
    """Tunes, writes page and file, and prints the hyperparameters before and after."""
    words, rest = split_words(argv, 2)
    if not words:
        about = _ABOUT.format(", ".join(names.estimators()))
        parse(tuning_options("NAME"), argv, "unspool tune PROBLEM", description=about)
        raise UsageError("name the problem first: unspool tune FILE.py:PROBLEM")
    spec, name = words[0], words[1] if len(words) > 1 else "nres"
    with as_usage_errors("in the problem"):
        problem = names.find("training run", spec, Path.cwd()).thing
    options = {"num_workers": _NUM_WORKERS}
    part = find_part("estimator", Spec(name, options), "", rest, Path.cwd())
    own = _own_options(spec.rpartition(":")[2] or Path(spec).stem)
    parts = logger_parts((), rest, Path.cwd())
    prog = f"unspool tune {spec} {name}"
    groups = groups_of([part, *parts])
    given = parse([*own, log_option()], rest, prog, description=part.about, groups=groups)
    chosen = Spec(name, part.values(given))
    own = {option.name: given[option.name] for option in own}
    with as_flags(list(own)), as_usage_errors("in the problem"):
        _, estimator = make_object("estimator", chosen, Path.cwd(), problem.horizon)
        made = [make_object("logger", x, Path.cwd())[1] for x in log_settings(parts, given)]
        with show_experiment() as on_progress:
            tuned = _tune(
                problem, estimator, label=spec, on_progress=on_progress, loggers=made, **own
            )
    print(tuned.page)
    _print_values(tuned)
    return 0


def tuning_options(name: str) -> list[Option]:
    """The options of every tuning, of a problem of that name."""
    return [*_own_options(name), log_option()]


def _own_options(name: str) -> list[Option]:
    return [
        Option("num_updates", int, 300, "updates to make, at least 1"),
        Option("learning_rate", float, 0.02, "Adam's, in the unconstrained coordinates"),
        Option("seeds", int, 1, "tunings from different seeds"),
        Option("num_runs", int, 5, "fresh training runs to compare before and after with"),
        Option("directory", str, f"runs/tune-{name}", "where runs are written"),
    ]


def _print_values(tuned: Tuned) -> None:
    """The hyperparameters before and after, the file, and what it is worth."""
    rows = {**tuned.values, "objective": tuned.objective}
    width = max(map(len, rows)) + 2
    print(f"{'':<{width}}{'untuned':>12}{'tuned':>12}")
    for name, (before, after) in rows.items():
        print(f"{name:<{width}}{before:>12.5g}{after:>12.5g}")
    if tuned.dropped:
        dropped = f"{tuned.dropped} workers whose training runs diverged"
        print(f"{dropped} were left out of the estimates")
    print(tuned.file, flush=True)
