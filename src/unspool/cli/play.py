"""`unspool play`: an episode of a trained policy, as an animated picture."""

from typing import Annotated, Literal

from ..experiments.own import play as _play
from .parse import Help
from .run_config import open_run


def play(
    run: Annotated[str, Help("the directory of a run", metavar="RUN")],
    /,
    *,
    file: Annotated[str | None, Help("where to write", "RUN/policy.gif")] = None,
    update: Annotated[
        int | Literal["best"] | None,
        Help("update whose parameters to play, or best, by evaluations", "the last", "INT|best"),
    ] = None,
    seed: Annotated[int, Help("what the start of the episode is drawn with")] = 0,
    num_steps: Annotated[int, Help("how much to show of the episode")] = 250,
    every: Annotated[int, Help("steps from one picture to the next")] = 2,
    num_episodes: Annotated[int, Help("episodes of the mean return; 0 for none")] = 20,
) -> None:
    """Show what a trained policy does.

    RUN is the directory of a training of Swimmer, HalfCheetah, Hopper, Walker2d or Ant: that of an
    `unspool train`, or LABEL-SEED in the directory of an `unspool reproduce`. The policy plays an
    episode without perturbations, which is written as an animated GIF.
    """
    played = _play.play(
        open_run(run), file=file, update=update, seed=seed, num_steps=num_steps, every=every,
        num_episodes=num_episodes,
    )  # fmt: skip
    print(f"{'update':<10}{played.update}")
    if played.mean_return is not None:
        error = f" +- {played.standard_error:.2g}" if num_episodes > 1 else ""
        print(f"{'return':<10}{played.mean_return:.6g}{error} on {num_episodes} fresh episodes")
    print(f"{'played':<10}{played.file}", flush=True)
