"""What one `unspool train` trains: built from words, and written down as words again."""

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
from .mistakes import Mistake, mistakes_of_the_user
from .options import Option, as_arguments, find_options, out_of_reach, read
from .settings import Settings, training_options

_FILL = {"num_workers": 100, "window": None, "period": None, "sigma": 0.1}
_SHOWN = {"window": "a tenth of the horizon", "period": "the window"}
_SIGMA = "standard deviation of the perturbation, in units of the parameters, above 0"
_MOST_NAMED = 32


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a training needs, and the words that give it.

    `words` names every setting but the directory, so that a later default changes nothing.
    """

    problem: AnyProblem
    joint: JointProblem
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    settings: Settings
    estimator_options: dict[str, Any]
    words: list[str]
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
        with mistakes_of_the_user("in the problem"):
            params = self.joint.init_params(key=stream(self.key, Purpose.PARAMS))
            self.joint.check(params)
            log_every = min(self.settings.filled_in().log_every or 1, self.settings.num_updates)
            memory = predict_memory(
                self.joint, self.chunked, self.optimizer, params, log_every=log_every
            )
            memory.check()
        return params, memory

    def config(self, params: Params) -> dict[str, Any]:
        """What `config.json` says of the run, besides how to build it again."""
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
            "parameter_names": name_entries(trained) if num_params <= _MOST_NAMED else None,
            "float64": jnp.result_type(float) == jnp.float64,
            "environment": environment(),
        }


def wants_float64(words: Sequence[str]) -> bool:
    """Whether the words ask for double precision: it has to be known before anything is loaded."""
    asked = [word for word in words if word in ("--float64", "--no-float64")]
    return bool(asked) and asked[-1] == "--float64"


def build_job(words: Sequence[str], start: Path) -> Job:
    """The job that `PROBLEM ESTIMATOR [options]` asks for; `start` is where files are looked for.

    **Raises:** `Mistake`; `SystemExit` after the help that `--help` prints.
    """
    spec, name, *rest = words
    found = choices.load_problem(spec, start)
    make_estimator = choices.choose("estimator", name, choices.estimators())
    of_problem = find_options(found) if isinstance(found, type) else []
    of_estimator = estimator_options(make_estimator)
    of_training = training_options()
    kinds = (found if isinstance(found, type) else type(found), make_estimator)
    given = read(
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
    with mistakes_of_the_user("in the problem"):
        joint = as_joint(problem)
    fill_in(of_estimator, chosen, joint.horizon)
    with mistakes_of_the_user("in the estimator"):
        estimator = make_estimator(**chosen)
    settings = settings.filled_in()
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
    return Job(problem, joint, estimator, step, settings, chosen, words, short)


def fill_in(options: Sequence[Option], chosen: dict[str, Any], horizon: int) -> None:
    """Puts in what an estimator's options are by default where that depends on the problem."""
    if "window" in chosen and chosen["window"] is None:
        chosen["window"] = max(1, horizon // 10)
    if any(option.name == "period" and option.shown for option in options):
        chosen["period"] = chosen["period"] or chosen["window"]


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
    make: Callable[..., Any],
    options: Sequence[Option],
    values: dict[str, Any],
    spec: str,
) -> Any:
    missing = out_of_reach(make, options)
    if missing:
        raise Mistake(
            f"{spec} needs {', '.join(missing)}, which the command line cannot give: make an "
            "instance in a file and name that, file.py:INSTANCE"
        )
    with mistakes_of_the_user(f"while making {spec}"):
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
