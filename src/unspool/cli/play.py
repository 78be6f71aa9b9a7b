"""`unspool play`: what a trained policy does, as a moving picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._evaluate import evaluate
from .._lines import MOST_PARAMS_LOGGED
from .._params import join, split
from .._random import Purpose, seeded_key, stream
from .._run import Run
from . import choices
from .job import build_job
from .mistakes import Mistake, mistakes_of_the_user
from .options import Option, read

_ABOUT = """\
Shows what a trained policy does: unspool play RUN [options]

RUN is the directory of a training of Swimmer, HalfCheetah, Hopper, Walker2d or Ant: that of an
`unspool train`, or LABEL-SEED in the directory of an `unspool reproduce`. The policy plays an
episode without perturbations, which is written as an animated GIF."""

_OPTIONS = (
    Option("file", str | None, None, "where to write", "RUN/policy.gif"),
    Option("update", int | None, None, "the update whose parameters to play", "the last"),
    Option("seed", int, 0, "what the start of the episode is drawn with"),
    Option("num_steps", int, 250, "how much to show of the episode"),
    Option("every", int, 2, "steps from one picture to the next"),
    Option("num_episodes", int, 20, "episodes whose mean return is printed; 0 for none"),
)


def play(words: Sequence[str]) -> int:
    """Writes the GIF, and prints the return and the file."""
    if not words or words[0].startswith("-"):
        read(words, prog="unspool play RUN", description=_ABOUT, picture=_OPTIONS)
        raise Mistake("name the run first: unspool play RUN")
    place, *rest = words
    given = read(rest, prog=f"unspool play {place}", description=_ABOUT, picture=_OPTIONS)
    given = given["picture"]
    for name, least in (("seed", 0), ("num_steps", 1), ("every", 1), ("num_episodes", 0)):
        if given[name] < least:
            flag = f"--{name.replace('_', '-')}"
            raise Mistake(f"{flag} must be an integer of at least {least}, got {given[name]}")
    run = Run.open(Path(place))
    with jax.enable_x64(bool(run.config.get("float64"))):
        problem = _problem(run)
        if not hasattr(problem, "render"):
            raise Mistake(
                f"the run in {place} is of {type(problem).__name__}, which has nothing to show"
            )
        update, params = _params(run, problem, given["update"])
        with mistakes_of_the_user("while drawing"):
            pictures = problem.render(
                params, seed=given["seed"], num_steps=given["num_steps"], every=given["every"]
            )
        print(f"{'update':<10}{update}")
        if count := given["num_episodes"]:
            key = seeded_key(given["seed"])
            found = evaluate(problem, params, key=key, num_episodes=count)
            mean, error = (problem.horizon * float(x) for x in found[:2])
            spread = f" +- {error:.2g}" if count > 1 else ""
            print(f"{'return':<10}{-mean:.6g}{spread} on {count} fresh episodes")
    file = Path(given["file"] or run.directory / "policy.gif")
    _write(pictures, file, 1000 * given["every"] * problem.seconds)
    print(f"{'played':<10}{file}", flush=True)
    return 0


def _problem(run: Run) -> Any:
    """What the run trains."""
    if "command" in run.config:
        return build_job(
            run.config["command"], (run.directory / run.config["from"]).resolve()
        ).problem
    about = run.config.get("experiment")
    if about is None:
        raise Mistake(
            f"the run in {run.directory} was begun by neither `unspool train` nor `unspool "
            "reproduce`: use the `render` of its problem in Python"
        )
    make = choices.choose("experiment", about["name"], choices.experiments())
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["options"].items()
    }
    return make(**options).entry(run.config["label"]).problem


def _params(run: Run, problem: Any, update: int | None) -> tuple[int, Any]:
    """The parameters that were logged at an update, or last."""
    logged = {line["update"]: line["params"] for line in run.read("metrics") if "params" in line}
    if not logged:
        raise Mistake(
            f"the run in {run.directory} has logged no parameters, as those with more than "
            f"{MOST_PARAMS_LOGGED} do not"
        )
    if update is not None and update not in logged:
        nearest = min(logged, key=lambda known: abs(known - update))
        raise Mistake(
            f"--update must be one that was logged, the nearest is {nearest}, got {update}"
        )
    chosen = max(logged) if update is None else update
    key = seeded_key(run.config.get("seed", 0))
    trained, fixed = split(problem.init_params(key=stream(key, Purpose.PARAMS)))
    flat, unravel = ravel_pytree(trained)
    return chosen, join(unravel(jnp.asarray(np.array(logged[chosen]), flat.dtype)), fixed)


def _write(pictures: Sequence[np.ndarray], file: Path, milliseconds: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in pictures)
    try:
        first.save(file, save_all=True, append_images=others, duration=milliseconds, loop=0)
    except (OSError, ValueError) as error:
        raise Mistake(f"cannot write {file}: {error}") from error
