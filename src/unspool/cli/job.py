"""What one `unspool train` trains: built from words, and written down as words again."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._custom_types import Params, RandomKey
from .._engine import LocalEngine
from .._estimator import AbstractEstimator
from .._problem import AbstractProblem
from .._random import Purpose, stream
from .._run import describe, environment
from .._train import make_step
from . import choices
from .mistakes import Mistake, mistakes_of_the_user
from .options import (
    Option,
    Parser,
    add_options,
    as_arguments,
    collect,
    find_options,
    out_of_reach,
)

_FILL = {"num_workers": 100, "window": None, "period": None, "sigma": 0.1}
_SHOWN = {
    "window": "a tenth of the horizon",
    "period": "the window",
    "log_every": "a hundredth of all",
    "checkpoint_every": "a fifth of all",
    "evaluate_every": "no further ones",
    "label": "the estimator's name",
    "directory": "the next free runs/PROBLEM-ESTIMATOR",
}
_SIGMA = "standard deviation of the perturbation, in units of the parameters, above 0"
_MOST_NAMED = 32


@dataclasses.dataclass(frozen=True)
class Settings:
    """How training goes, whatever is trained.

    **Arguments:**

    - `optimizer`: the optax optimizer that takes the steps; `unspool train --help` lists them.
    - `learning_rate`: its step size, above 0.
    - `num_updates`: updates to make in all, at least 1.
    - `seed`: the one source of randomness, from 0 to 4294967295.
    - `log_every`: updates between records.
    - `checkpoint_every`: updates between checkpoints, at the next record.
    - `num_episodes`: fresh episodes that the parameters are evaluated on at the start and at the
      end, without perturbation; 0 for no evaluation.
    - `evaluate_every`: updates between further evaluations, at the next record.
    - `float64`: compute in double precision.
    - `label`: what reports call the run; they pool runs of one label.
    - `directory`: where the run is written.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-2
    num_updates: int = 1000
    seed: int = 0
    log_every: int | None = None
    checkpoint_every: int | None = None
    num_episodes: int = 100
    evaluate_every: int | None = None
    float64: bool = False
    label: str | None = None
    directory: str | None = None

    def __post_init__(self):
        for name in ("num_updates", "log_every", "checkpoint_every", "evaluate_every"):
            _check(name, getattr(self, name), 1)
        _check("num_episodes", self.num_episodes, 0)
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise Mistake(
                f"--learning-rate must be a finite number above 0, got {self.learning_rate}"
            )
        if not 0 <= self.seed < 2**32:
            raise Mistake(f"--seed must be from 0 to {2**32 - 1}, got {self.seed}")


def _check(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        flag = f"--{name.replace('_', '-')}"
        raise Mistake(f"{flag} must be an integer of at least {least}, got {value}")


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a training needs, and the words that give it.

    `words` names every setting but the directory, so that a later default changes nothing.
    """

    engine: LocalEngine
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    settings: Settings
    estimator_options: dict[str, Any]
    words: list[str]
    name: str

    @property
    def key(self) -> RandomKey:
        return jax.random.key(self.settings.seed)

    def try_out(self) -> Params:
        """The parameters at the start, once a whole update has been traced with them."""
        with mistakes_of_the_user("in the problem"):
            params = self.engine.init_params(key=stream(self.key, Purpose.PARAMS))
            self.engine.check(params)
            init, step = make_step(self.engine, self.estimator, self.optimizer)
            jax.eval_shape(lambda params: step(init(params, key=self.key))[0].update, params)
        return params

    def config(self, params: Params) -> dict[str, Any]:
        """What `config.json` says of the run, besides how to build it again."""
        settings, estimator = self.settings, describe(self.estimator)
        estimator["options"] |= self.estimator_options
        num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
        return {
            "label": settings.label or estimator["name"],
            "seed": settings.seed,
            "problem": describe(self.engine.problem),
            "estimator": estimator | {"estimand": self.estimator.estimand},
            "optimizer": {
                "name": settings.optimizer,
                "options": {"learning_rate": settings.learning_rate},
            },
            "num_updates": settings.num_updates,
            "num_params": num_params,
            "parameter_names": _names(params) if num_params <= _MOST_NAMED else None,
            "float64": jnp.result_type(float) == jnp.float64,
            "environment": environment(),
        }


def training_options() -> list[Option]:
    """The options of every training."""
    options = find_options(Settings)
    return [dataclasses.replace(option, shown=_SHOWN.get(option.name)) for option in options]


def wants_float64(words: Sequence[str]) -> bool:
    """Whether the words ask for double precision: it has to be known before anything is loaded."""
    asked = [word for word in words if word in ("--float64", "--no-float64")]
    return bool(asked) and asked[-1] == "--float64"


def build_job(words: Sequence[str], start: Path) -> Job:
    """The job that `PROBLEM ESTIMATOR [options]` asks for; `start` is where files are looked for.

    **Raises:** `Mistake`; `SystemExit` after the help that `--help` prints.
    """
    spec, name, *rest = words
    problem = choices.load_problem(spec, start)
    make_estimator = choices.choose("estimator", name, choices.estimators())
    of_problem = find_options(problem) if isinstance(problem, type) else []
    of_estimator = estimator_options(make_estimator)
    of_training = training_options()
    given = _parser(problem, make_estimator, (spec, name)).read(rest)
    settings = Settings(**collect(of_training, given))
    optimizer = choices.choose("optimizer", settings.optimizer, choices.optimizers())
    values = collect(of_problem, given, "problem.")
    if isinstance(problem, type):
        problem = _construct(problem, of_problem, values, spec)
    with mistakes_of_the_user("in the problem"):
        engine = LocalEngine(problem)
    chosen = collect(of_estimator, given)
    if "window" in chosen and chosen["window"] is None:
        chosen["window"] = max(1, engine.horizon // 10)
    if any(option.name == "period" and option.shown for option in of_estimator):
        chosen["period"] = chosen["period"] or chosen["window"]
    with mistakes_of_the_user("in the estimator"):
        estimator = make_estimator(**chosen)
    settings = _fill_in(settings)
    told = dataclasses.asdict(settings) | {"directory": None}
    words = [
        spec,
        choices.kebab(make_estimator.__name__),
        *as_arguments(of_problem, values, "problem."),
        *as_arguments(of_estimator, chosen),
        *as_arguments(of_training, told),
    ]
    short = choices.kebab(type(problem).__name__) + "-" + words[1]
    step = optimizer(settings.learning_rate)
    return Job(engine, estimator, step, settings, chosen, words, short)


def _parser(problem: Any, estimator: type, typed: tuple[str, str]) -> Parser:
    kind = problem if isinstance(problem, type) else type(problem)
    about = "\n".join(f"{cls.__name__}: {choices.summary(cls)}" for cls in (kind, estimator))
    prog = "unspool train " + " ".join(typed)
    parser = Parser(prog=prog, description=about, usage=f"{prog} [options]")
    if isinstance(problem, type) and (options := find_options(problem)):
        add_options(parser, f"the problem {kind.__name__}", options, "problem.")
    add_options(parser, f"the estimator {estimator.__name__}", estimator_options(estimator))
    add_options(parser, "training", training_options())
    return parser


def estimator_options(estimator: type) -> list[Option]:
    options = find_options(estimator, _FILL)
    asked = set(out_of_reach(estimator, []))
    return [
        dataclasses.replace(
            option,
            shown=_SHOWN.get(option.name) if option.name in asked else None,
            help=_SIGMA if option.name == "sigma" else option.help,
        )
        for option in options
    ]


def _construct(
    problem: type, options: Sequence[Option], values: dict[str, Any], spec: str
) -> AbstractProblem:
    missing = out_of_reach(problem, options)
    if missing:
        raise Mistake(
            f"{spec} needs {', '.join(missing)}, which the command line cannot give: make an "
            "instance in a file and name that, file.py:INSTANCE"
        )
    with mistakes_of_the_user(f"while making {spec}"):
        return problem(**values)


def _fill_in(settings: Settings) -> Settings:
    total = settings.num_updates
    return dataclasses.replace(
        settings,
        log_every=settings.log_every or max(1, total // 100),
        checkpoint_every=settings.checkpoint_every or max(1, total // 5),
    )


def _names(params: Params) -> list[str]:
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "params"
        for index in np.ndindex(np.shape(leaf)):
            names.append(name + "".join(f"[{i}]" for i in index))
    return names
