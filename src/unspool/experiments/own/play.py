"""`unspool.play`: an episode of a trained policy, as an animated picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..._config.build import build_training
from ..._config.errors import ConfigError, noting
from ..._config.names import choose
from ..._config.run import run_settings
from ..._counts import as_count
from ..._evaluate import evaluate
from ..._lines import MOST_PARAMS_LOGGED
from ..._params import join, split
from ..._random import Purpose, seeded_key, stream
from ..._run import Run
from ...records.files import as_array
from ..known import experiments


@dataclass(frozen=True)
class Played:
    """An episode of a trained policy.

    - `file`: the animated GIF.
    - `update`: the update whose parameters were played.
    - `mean_return`, `standard_error`: the return over `num_episodes` further episodes; `None`
      without any, and the error of one episode.
    """

    file: Path
    update: int
    mean_return: float | None
    standard_error: float | None
    num_episodes: int


def play(
    run: str | Path | Run,
    *,
    file: str | Path | None = None,
    update: int | Literal["best"] | None = None,
    seed: int = 0,
    num_steps: int = 250,
    every: int = 2,
    num_episodes: int = 20,
) -> Played:
    """Plays an episode with a trained policy, without perturbations, and writes it as a GIF.

    A file of yours that the run's settings name is imported, which runs what is in it.

    **Arguments:**

    - `run`: a training of Swimmer, HalfCheetah, Hopper, Walker2d or Ant, by `train_run`,
      `unspool train` or `unspool.experiments.reproduce`, or its directory.
    - `file`: where to write; by default `policy.gif` in the run.
    - `update`: the update whose parameters to play, of those that were logged, by default the last;
      or "best", for those of the evaluation with the lowest loss.
    - `seed`: what the start of the episode is drawn with.
    - `num_steps`, `every`: how much to show of the episode, and steps between pictures.
    - `num_episodes`: episodes that the return is averaged over; 0 for none.

    **Raises:** `ConfigError` for a run that has nothing to show, and `RunError` if there is none.

    **Example:**

    >>> from unspool.problems.control import Swimmer
    >>> config = unspool.TrainConfig(
    ...     problem=unspool.Spec("swimmer", {"horizon": 20}),
    ...     estimator=unspool.Spec("nres", {"num_workers": 1}),
    ...     num_updates=1,
    ...     num_episodes=0,
    ... )
    >>> for record in unspool.train_run(config, "runs/swimmer"):
    ...     pass
    >>> unspool.play("runs/swimmer", num_steps=4, num_episodes=0).file.name
    'policy.gif'
    """
    for name, value, least in (("seed", seed, 0), ("num_steps", num_steps, 1), ("every", every, 1)):
        as_count(name, value, least=least)
    as_count("num_episodes", num_episodes, least=0)
    run = run if isinstance(run, Run) else Run.open(run)
    file = Path(file or run.directory / "policy.gif")
    mean_return = standard_error = None
    with jax.enable_x64(bool(run.config.get("float64"))):
        problem = _problem(run)
        if not hasattr(problem, "render"):
            raise ConfigError(
                f"the run in {run.directory} is of {type(problem).__name__}, which has nothing to "
                "show"
            )
        update, params = _params(run, problem, update)
        with noting("while drawing"):
            pictures = problem.render(params, seed=seed, num_steps=num_steps, every=every)
        if num_episodes:
            found = evaluate(problem, params, key=seeded_key(seed), num_episodes=num_episodes)
            mean_return = -problem.horizon * float(found.loss)
            standard_error = problem.horizon * float(found.standard_error)
    _write_gif(pictures, file, 1000 * every * problem.seconds)
    return Played(file, update, mean_return, standard_error, num_episodes)


def _problem(run: Run) -> Any:
    """The problem of the run."""
    about = run.config.get("experiment")
    if about is None:
        return build_training(*run_settings(run)).problem
    options = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in about["options"].items()
    }
    return (
        choose("experiment", about["name"], experiments())(**options)
        .entry(run.config["label"])
        .problem
    )


def _params(run: Run, problem: Any, update: int | Literal["best"] | None) -> tuple[int, Any]:
    """The parameters that were logged at an update, or last, or those that were the best."""
    key = seeded_key(run.config.get("seed", 0))
    start = problem.init_params(key=stream(key, Purpose.PARAMS))
    if update == "best":
        params, best = run.load_best(start), run.best
        assert best is not None
        return best.update, params
    logged = {line.update: line.params for line in run.read_metrics() if line.params is not None}
    if not logged:
        raise ConfigError(
            f"the run in {run.directory} has logged no parameters, as those with more than "
            f"{MOST_PARAMS_LOGGED} do not"
        )
    if update is not None and update not in logged:
        nearest = min(logged, key=lambda known: abs(known - update))
        raise ConfigError(
            f"update must be one that was logged, the nearest is {nearest}, got {update}"
        )
    chosen = max(logged) if update is None else update
    trained, fixed = split(start)
    flat, unravel = ravel_pytree(trained)
    return chosen, join(unravel(jnp.asarray(as_array(logged[chosen]), flat.dtype)), fixed)


def _write_gif(pictures: Sequence[np.ndarray], file: Path, milliseconds: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(picture) for picture in pictures)
    try:
        first.save(file, save_all=True, append_images=others, duration=milliseconds, loop=0)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write {file}: {error}") from error
