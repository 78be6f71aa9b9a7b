"""The configuration of one `unspool train`, parsed from `argv` and written as `argv` again."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .._custom_types import Params, RandomKey
from .._describe import describe, environment
from .._estimator import AbstractEstimator
from .._estimator.chunked import Chunked
from .._joint import AnyProblem, JointProblem, as_joint
from .._memory import Memory
from .._params import split
from .._random import Purpose, seeded_key, stream
from .._train import predict_memory
from . import choices
from .docs import summary
from .errors import UsageError, as_usage_errors
from .options import Option, find_options, missing_arguments, parse, to_argv
from .settings import Settings, training_options

_DEFAULTS = {"num_workers": 100, "window": None, "period": None, "sigma": 0.1}
_SHOWN_DEFAULTS = {"window": "a tenth of the horizon", "period": "the window"}
_SIGMA = "standard deviation of the perturbation, in units of the parameters, above 0"
_MAX_NAMED = 32


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The settings of a training, and the arguments that give them.

    `argv` names every setting but the directory, so that a later default changes nothing.
    """

    problem: AnyProblem
    joint: JointProblem
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    settings: Settings
    estimator_options: dict[str, Any]
    argv: list[str]
    name: str

    @property
    def chunked(self) -> AbstractEstimator:
        """The estimator, with as many workers at once as were asked for."""
        chunk = self.settings.chunk
        return self.estimator if chunk is None else Chunked(self.estimator, chunk)

    @property
    def key(self) -> RandomKey:
        return seeded_key(self.settings.seed)

    def try_out(self) -> tuple[Params, Memory]:
        """The parameters at the start, and the memory that training with them needs.

        Everything is traced and compiled, so that what is wrong shows before a run begins.
        """
        with as_usage_errors("in the problem"):
            params = self.joint.init_params(key=stream(self.key, Purpose.PARAMS))
            self.joint.check(params)
            log_every = min(self.settings.with_defaults().log_every or 1, self.settings.num_updates)
            memory = predict_memory(
                self.joint, self.chunked, self.optimizer, params, log_every=log_every
            )
            memory.check()
        return params, memory

    def describe(self, params: Params) -> dict[str, Any]:
        """The contents of `config.json`, besides the arguments that build it again."""
        settings, estimator = self.settings, describe(self.estimator)
        estimator["options"] |= self.estimator_options
        trained, _ = split(params)
        num_params = sum(np.size(leaf) for leaf in jax.tree.leaves(trained))
        return {
            "label": settings.label or estimator["name"],
            "seed": settings.seed,
            "problem": describe(_plain(self.joint)),
            "estimator": estimator | {"estimand": self.estimator.estimand},
            "optimizer": {
                "name": settings.optimizer,
                "options": {"learning_rate": settings.learning_rate},
            },
            "num_updates": settings.num_updates,
            "num_params": num_params,
            "parameter_names": name_entries(trained) if num_params <= _MAX_NAMED else None,
            "float64": jnp.result_type(float) == jnp.float64,
            "environment": environment(),
        }


def wants_float64(argv: Sequence[str]) -> bool:
    """True if the arguments ask for double precision, which must be known before all else."""
    asked = [argument for argument in argv if argument in ("--float64", "--no-float64")]
    return bool(asked) and asked[-1] == "--float64"


def build_train_config(argv: Sequence[str], start: Path) -> TrainConfig:
    """The configuration for `PROBLEM ESTIMATOR [options]`, whose files are relative to `start`.

    **Raises:** `UsageError`; `SystemExit` after the help that `--help` prints.
    """
    spec, name, *rest = argv
    found = choices.load_problem(spec, start)
    make_estimator = choices.choose("estimator", name, choices.estimators())
    of_problem = find_options(found) if isinstance(found, type) else []
    of_estimator = estimator_options(make_estimator)
    of_training = training_options()
    kinds = (found if isinstance(found, type) else type(found), make_estimator)
    given = parse(
        rest,
        prog=f"unspool train {spec} {name}",
        description="\n\n".join(f"{kind.__name__}: {summary(kind)}" for kind in kinds),
        problem=of_problem,
        estimator=of_estimator,
        training=of_training,
    )
    settings = Settings(**given["training"])
    optimizer = choices.choose("optimizer", settings.optimizer, choices.optimizers())
    values, chosen = given["problem"], given["estimator"]
    problem = _construct(found, of_problem, values, spec) if isinstance(found, type) else found
    with as_usage_errors("in the problem"):
        joint = as_joint(problem)
    fill_defaults(of_estimator, chosen, joint.horizon)
    with as_usage_errors("in the estimator"):
        estimator = make_estimator(**chosen)
    settings = settings.with_defaults()
    training_values = dataclasses.asdict(settings) | {"directory": None}
    argv = [
        spec,
        choices.kebab_case(make_estimator.__name__),
        *to_argv(of_problem, values, "problem."),
        *to_argv(of_estimator, chosen),
        *to_argv(of_training, training_values),
    ]
    short = choices.kebab_case(type(problem).__name__) + "-" + argv[1]
    step = optimizer(settings.learning_rate)
    return TrainConfig(
        problem=problem,
        joint=joint,
        estimator=estimator,
        optimizer=step,
        settings=settings,
        estimator_options=chosen,
        argv=argv,
        name=short,
    )


def fill_defaults(options: Sequence[Option], chosen: dict[str, Any], horizon: int) -> None:
    """Fills in the estimator's defaults that depend on the problem."""
    if "window" in chosen and chosen["window"] is None:
        chosen["window"] = max(1, horizon // 10)
    if any(option.name == "period" and option.shown for option in options):
        chosen["period"] = chosen["period"] or chosen["window"]


def estimator_options(estimator: type) -> list[Option]:
    options = find_options(estimator, _DEFAULTS)
    asked = set(missing_arguments(estimator, []))
    return [
        dataclasses.replace(
            option,
            shown=_SHOWN_DEFAULTS.get(option.name) if option.name in asked else None,
            help=_SIGMA if option.name == "sigma" else option.help,
        )
        for option in options
    ]


def _construct(
    make: Callable[..., Any],
    options: Sequence[Option],
    values: dict[str, Any],
    spec: str,
) -> Any:
    missing = missing_arguments(make, options)
    if missing:
        raise UsageError(
            f"{spec} needs {', '.join(missing)}, which the command line cannot give: make an "
            "instance in a file and name that, file.py:INSTANCE"
        )
    with as_usage_errors(f"while making {spec}"):
        return make(**values)


def name_entries(params: Params, root: str = "") -> list[str]:
    """A name for every number in a tree, in the order of its leaves."""
    names = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        own = jax.tree_util.keystr(path, simple=True, separator=".")
        name = ".".join(filter(None, (root, own))) or "params"
        for index in np.ndindex(np.shape(leaf)):
            names.append(name + "".join(f"[{i}]" for i in index))
    return names


def _plain(joint: JointProblem) -> Any:
    """The one problem that there is, without the engine that runs it; or all of them."""
    engine, *others = joint.engines
    return joint if others else getattr(engine, "problem", engine)
