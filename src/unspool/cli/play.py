"""`unspool play`: an episode of a trained policy, as an animated picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._config import names
from .._config.options import Option
from .._evaluate import evaluate
from .._lines import MOST_PARAMS_LOGGED
from .._params import join, split
from .._random import Purpose, seeded_key, stream
from .._run import Run
from ..records.files import as_array
from . import choices
from .errors import UsageError, as_usage_errors
from .options import parse
from .run_config import rebuild

_ABOUT = """\
Shows what a trained policy does: unspool play RUN [options]

RUN is the directory of a training of Swimmer, HalfCheetah, Hopper, Walker2d or Ant: that of an
`unspool train`, or LABEL-SEED in the directory of an `unspool reproduce`. The policy plays an
episode without perturbations, which is written as an animated GIF."""

OPTIONS = (
    Option("file", str | None, None, "where to write", "RUN/policy.gif"),
    Option("update", int | None, None, "the update whose parameters to play", "the last"),
    Option("seed", int, 0, "what the start of the episode is drawn with"),
    Option("num_steps", int, 250, "how much to show of the episode"),
    Option("every", int, 2, "steps from one picture to the next"),
    Option("num_episodes", int, 20, "episodes whose mean return is printed; 0 for none"),
)


def play(argv: Sequence[str]) -> int:
    """Writes the GIF, and prints the return and the file."""
    if not argv or argv[0].startswith("-"):
        parse(argv, prog="unspool play RUN", description=_ABOUT, picture=OPTIONS)
        raise UsageError("name the run first: unspool play RUN")
    directory, *rest = argv
    given = parse(rest, prog=f"unspool play {directory}", description=_ABOUT, picture=OPTIONS)
    given = given["picture"]
    for name, least in (("seed", 0), ("num_steps", 1), ("every", 1), ("num_episodes", 0)):
        if given[name] < least:
            flag = f"--{name.replace('_', '-')}"
            raise UsageError(f"{flag} must be an integer of at least {least}, got {given[name]}")
    run = Run.open(Path(directory))
    with jax.enable_x64(bool(run.config.get("float64"))):
        problem = _problem(run)
        if not hasattr(problem, "render"):
            raise UsageError(
                f"the run in {directory} is of {type(problem).__name__}, which has nothing to show"
            )
        update, params = _params(run, problem, given["update"])
        with as_usage_errors("while drawing"):
            pictures = problem.render(
                params, seed=given["seed"], num_steps=given["num_steps"], every=given["every"]
            )
        print(f"{'update':<10}{update}")
        if count := given["num_episodes"]:
            key = seeded_key(given["seed"])
            found = evaluate(problem, params, key=key, num_episodes=count)
            mean, error = (problem.horizon * float(x) for x in found[:2])
            error_text = f" +- {error:.2g}" if count > 1 else ""
            print(f"{'return':<10}{-mean:.6g}{error_text} on {count} fresh episodes")
    file = Path(given["file"] or run.directory / "policy.gif")
    _write_gif(pictures, file, 1000 * given["every"] * problem.seconds)
    print(f"{'played':<10}{file}", flush=True)
    return 0


def _problem(run: Run) -> Any:
    """The problem of the run."""
    if "settings" in run.config or "command" in run.config:
        return rebuild(run).problem
    about = run.config.get("experiment")
    if about is None:
        raise UsageError(
            f"the run in {run.directory} was begun by neither `unspool train` nor `unspool "
            "reproduce`: use the `render` of its problem in Python"
        )
    make = names.choose("experiment", about["name"], choices.experiments())
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["options"].items()
    }
    return make(**options).entry(run.config["label"]).problem


def _params(run: Run, problem: Any, update: int | None) -> tuple[int, Any]:
    """The parameters that were logged at an update, or last."""
    logged = {line.update: line.params for line in run.read_metrics() if line.params is not None}
    if not logged:
        raise UsageError(
            f"the run in {run.directory} has logged no parameters, as those with more than "
            f"{MOST_PARAMS_LOGGED} do not"
        )
    if update is not None and update not in logged:
        nearest = min(logged, key=lambda known: abs(known - update))
        raise UsageError(
            f"--update must be one that was logged, the nearest is {nearest}, got {update}"
        )
    chosen = max(logged) if update is None else update
    key = seeded_key(run.config.get("seed", 0))
    trained, fixed = split(problem.init_params(key=stream(key, Purpose.PARAMS)))
    flat, unravel = ravel_pytree(trained)
    return chosen, join(unravel(jnp.asarray(as_array(logged[chosen]), flat.dtype)), fixed)


def _write_gif(pictures: Sequence[np.ndarray], file: Path, milliseconds: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in pictures)
    try:
        first.save(file, save_all=True, append_images=others, duration=milliseconds, loop=0)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot write {file}: {error}") from error
