"""Draws docs/growth.svg: how the cost of an estimate grows, from benchmarks/results/cpu.json."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "cpu.json"
BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#999999"
MIB = 2**20


def series(rows, names, value):
    """The values of the cases that there are, with what each has along the horizontal axis."""
    pairs = ((at, value(rows[name])) for at, name in names.items())
    return list(zip(*pairs, strict=True))


def main():
    rows = json.loads(RESULTS.read_text())["rows"]
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.2), layout="constrained")

    workers = {200: "lorenz NRES"} | {n: f"lorenz N={n}" for n in (10, 1000, 10_000, 100_000)}
    workers = dict(sorted(workers.items()))
    per_step = lambda row: 1e9 / row["steps_per_cpu_s"]
    axes[0].loglog(*series(rows, workers, per_step), "o-", color=BLUE)
    axes[0].set(xlabel="workers", ylabel="CPU ns per problem step", title="Lorenz, W = 100")

    windows = {100: "lorenz NRES"} | {w: f"lorenz W={w}" for w in (1, 10, 500, 2000)}
    windows = dict(sorted(windows.items()))
    axes[1].loglog(*series(rows, windows, per_step), "o-", color=BLUE)
    axes[1].set(xlabel="window", ylabel="CPU ns per problem step", title="Lorenz, N = 200")

    for each in axes[:2]:
        each.set_yticks((1, 2, 5, 10, 20), ("1", "2", "5", "10", "20"))
        each.minorticks_off()

    sizes = (10, 1000, 100_000, 1_000_000, 10_000_000)
    held = lambda row: (row["state_bytes"] + row["work_bytes"]) / MIB
    for ending, label, color in (("", "all at once", ORANGE), (" in chunks", "one by one", BLUE)):
        names = {size: f"P={size}{ending}" for size in sizes}
        axes[2].loglog(*series(rows, names, held), "o-", color=color, label=label)
    axes[2].loglog(sizes, [4 * size / MIB for size in sizes], ":", color=GRAY, label="parameters")
    axes[2].set(xlabel="parameters", ylabel="MiB", title="NRES, 16 workers")
    axes[2].legend(frameon=False)

    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
