"""The progress of an experiment, and its ends before it is done."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator

from .._progress import Show, show_progress
from ..experiments.runner import ExperimentError, Progress
from .errors import RunFailure


@contextlib.contextmanager
def show_experiment() -> Iterator[Callable[[Progress], None]]:
    """Shows what an experiment reports, to be called with every `Progress`.

    **Raises:** `RunFailure` if some of its runs failed; `SystemExit` with 130 after Ctrl-C.
    """
    with contextlib.ExitStack() as stack:
        shows: list[Show] = []

        def show(now: Progress) -> None:
            percent = 100 * now.done / max(now.total, 1)
            if not shows:  # What was finished before is known only now.
                bar = show_progress(100, int(percent), "percent", sys.stdout)
                shows.append(stack.enter_context(bar))
            loss = "" if math.isnan(now.loss) else f", loss {now.loss:.6g}"
            shows[0](percent, f"{now.label} seed {now.seed}{loss}")

        try:
            yield show
        except ExperimentError as error:
            raise RunFailure(str(error)) from error
        except KeyboardInterrupt:
            stack.close()
            print("stopped; the same command goes on", file=sys.stderr)
            raise SystemExit(130) from None
