"""The two stages of a comparison: learning rates are chosen, and then the runs that are shown."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax

from ..._config.compare_config import CompareConfig
from ...records import Chart
from ...records.files import write_record
from ...records.study import EXPERIMENT_FILE
from ..runner import Stage, Task
from .describe import describe_selection
from .plan import Planned, plan_selection, plan_shown
from .rates import RateChoice, choose_rates, draw_rates
from .standing import arrange, find_standing
from .trainings import run_trainings

RATES_FOLDER = "rates"


class Work:
    """The runs of a comparison, and how far it has come.

    - `shown`: the runs that are shown; with the first learning rate until one is chosen.
    - `choices`, `charts`: learning rates, once they are chosen.
    - `moved`: runs of other settings, where they are now.
    """

    def __init__(
        self,
        config: CompareConfig,
        directory: Path,
        start: Path,
        num_processes: int,
        allow_changes: bool,
    ):
        self._config, self._directory, self._start = config, directory, start
        self._num_processes, self._allow_changes = num_processes, allow_changes
        self._selection = plan_selection(config, directory / RATES_FOLDER, start)
        first = {name: rate for rate in config.learning_rates[:1] for name in config.estimators}
        self.shown = plan_shown(config, first, directory, start)
        self.choices: list[RateChoice] = []
        self.charts: list[Chart] = []
        self.moved: list[Path] = []

    @property
    def cost(self) -> int:
        """The cost of all runs together, which no learning rate changes."""
        return sum(each.cost for each in [*self._selection, *self.shown])

    def stages(self) -> Iterator[Stage]:
        """The stages; one that failed is the last."""
        if self._selection:
            yield self._stage(self._selection, self._directory / RATES_FOLDER)
            found = (find_standing(each, each.path, self._start) for each in self._selection)
            if any(standing != "done" for standing in found):
                return
            self._choose()
        yield self._stage(self.shown, self._directory)

    def _choose(self) -> None:
        config, directory = self._config, self._directory
        self.choices, metric = choose_rates(self._selection)
        self.charts = draw_rates(self.choices, metric)
        described = describe_selection(config, self.charts)
        write_record(directory / RATES_FOLDER / EXPERIMENT_FILE, described)
        rates = {choice.estimator: choice.rate for choice in self.choices}
        with jax.enable_x64(config.float64):
            self.shown = plan_shown(config, rates, directory, self._start)

    def _stage(self, planned: Sequence[Planned], directory: Path) -> Stage:
        """The tasks of what is not done yet, those that take longest first."""
        found = arrange(planned, directory, self._start, allow_changes=self._allow_changes)
        self.moved += found.moved
        groups: dict[str, list[Planned]] = {}
        for each in found.todo:
            groups.setdefault(each.label, []).append(each)
        # The seeds of a label stay together, for they share programs, unless processes would idle.
        parts = math.ceil(self._num_processes / max(1, len(groups)))
        shares = [
            share for group in groups.values() for n in range(parts) if (share := group[n::parts])
        ]
        shares.sort(key=lambda share: -sum(each.cost for each in share))
        tasks = [
            Task(share[0].label, run_trainings, (share, self._start, self._allow_changes))
            for share in shares
        ]
        return Stage(tasks, found.finished)
