"""Draws docs/lag.svg: the learning rates that work with and without lag, from lag.json.

The numbers are those of benchmarks/results/lag.json, which benchmarks/lag.py measures.
"""

import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "lag.json"
LINES = {
    "online": ("NRES", "#d55e00", "o"),
    "reweighted": ("ReweightedNRES", "#0072b2", "s"),
    "clipped": ("with max_weight=4", "#009e73", "^"),
}
NEAR, LARGEST = 0.1, 1e4


def main():
    found = json.loads(RESULTS.read_text())["balancing"]
    figure, axes = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
    for name, (label, color, marker) in LINES.items():
        distances = np.minimum(np.array(found[name]["distances"]), LARGEST)
        rates = found["rates"]
        axes.loglog(rates, np.median(distances, 1), marker + "-", color=color, label=label, ms=4)
        axes.fill_between(rates, distances.min(1), distances.max(1), color=color, alpha=0.15, lw=0)
    axes.axhline(NEAR, color="#999999", lw=0.8, ls=":")
    axes.set(xlabel="learning rate", ylabel="distance from the optimum", ylim=(0.01, LARGEST))
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
