"""The numbers behind the tables of the page, run by run."""

import csv
import io
from collections.abc import Sequence

from .._statistics.summarize import AXES, LabelSummary, Metric
from .data import short
from .units import own_units


def finals_table(summaries: Sequence[LabelSummary], metric: Metric, names: Sequence[str]) -> str:
    """A CSV table with a row for each run: how it ended, what it cost, and its parameters."""
    units = [own_units(name) for name in names]
    heads = ["label", "seed", "status", f"final {metric.name}", *AXES]
    heads += [unit.name for unit in units]
    targets = summaries[0].times_to_target if summaries else ()
    heads += [f"updates to {target.threshold:g}" for target in targets]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(heads)
    for summary in summaries:
        for index, run in enumerate(summary.runs):
            row = [summary.label, run.config.seed, run.status.state, summary.finals[index]]
            row += [summary.costs[axis][index] for axis in AXES]
            params = None if run.metrics.params is None else run.metrics.params[-1]
            row += [
                None if params is None else x if unit.value is None else unit.value(x)
                for x, unit in zip(params if params is not None else units, units, strict=True)
            ]
            row += [each.positions["update"][index] for each in summary.times_to_target]
            table.writerow([short(x) if isinstance(x, float) else x for x in row])
    return text.getvalue()
