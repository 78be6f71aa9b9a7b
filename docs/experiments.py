"""Draws the pictures of published experiments, from the numbers that their pages give away.

    .venv/bin/python docs/experiments.py

Numbers are those in `docs/data`. Where there is a run of `unspool reproduce NAME` in `runs/NAME`,
they are taken from its page first, so that an experiment that is run anew makes its picture anew.
"""

import json
import math
import re
import shutil
import tempfile
from pathlib import Path

import matplotlib
import numpy as np

import unspool
from unspool._report.style import PALETTE, dashes, marker

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap, LogNorm  # noqa: E402

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs"
GRAYS = LinearSegmentedColormap.from_list("grays", ["#ffffff", "#e3e6ea", "#b4bac3", "#858c98"])
FIGURES = {
    "lorenz": ("sequential_steps", "paths"),
    "schedule-train-loss": ("paths",),
    "swimmer": ("steps",),
    "lopt-fashion-mnist": ("chart-1",),
}
"""For each experiment the figures of its page that the docs show."""

LOSSES = {
    "lorenz": "training loss smoothed with sigma = 0.04",
    "schedule-train-loss": "training loss",
}
"""What is gray is which loss."""


def numbers(name, figure):
    """The numbers of a figure, as the page of the experiment has them; `None` if there are none."""
    file, runs = HERE / "data" / f"{name}-{figure}.json", RUNS / name
    if (runs / "experiment.json").exists():
        with tempfile.TemporaryDirectory() as place:
            text = unspool.report(runs, Path(place)).read_text("utf-8")
        own = text.partition(f'id="study-1-{figure}"')[2]
        found = json.loads(re.findall(r'"application/json">(.*?)</script>', own)[0])
        file.write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")
    return json.loads(file.read_text()) if file.exists() else None


def style(number):
    """The look of a label, as on the page."""
    strokes = dashes(number)
    return {"color": PALETTE[number % len(PALETTE)][0], "ls": (0, strokes) if strokes else "-"}


def as_array(values):
    return np.array(values, dtype=float)


def draw_lines(axes, panel, log_x=False):
    """The lines of a panel with their bands; what is at zero has no place on a log axis."""
    labeled = set()
    for line in panel["lines"]:
        number, x = line["series"], as_array(line["x"])
        shown = x > 0 if log_x else np.full(len(x), True)
        if "low" in line:
            band = as_array(line["low"])[shown], as_array(line["high"])[shown]
            axes.fill_between(x[shown], *band, color=style(number)["color"], alpha=0.18, lw=0)
        if "y" not in line:
            continue
        label = None if line["label"] in labeled else line["label"]
        labeled.add(line["label"])
        every = math.ceil(int(shown.sum()) / 10)
        look = {"marker": marker(number), "markersize": 4, "markevery": every}
        look = {} if "run" in line else look
        width = 0.9 if "run" in line else 1.4
        axes.plot(
            x[shown], as_array(line["y"])[shown], lw=width, label=label, **style(number), **look
        )
    axes.set_ylabel(panel["y"])
    axes.spines[["top", "right"]].set_visible(False)


def surface_of(data):
    """The two parameters along the axes of a figure of paths, and the loss at each pair of them."""
    lines = data["panels"][-1]["lines"]
    y, loss = (as_array([line[name] for line in lines]) for name in ("label", "y"))
    return as_array(lines[0]["x"]), y, loss


def draw_paths(figure, all_axes, data, name):
    """The path of every seed over the surface, a panel for each label."""
    panels, all_axes = data["panels"][:-1], list(all_axes)
    x, y, loss = surface_of(data)
    for axes, panel in zip(all_axes, panels, strict=False):
        norm = LogNorm(np.nanmin(loss), np.nanmax(loss))
        mesh = axes.pcolormesh(
            x, y, loss, norm=norm, cmap=GRAYS, shading="gouraud", rasterized=True
        )
        levels = np.geomspace(np.nanmin(loss), np.nanmax(loss), 10)[1:-1]
        axes.contour(x, y, loss, levels=levels, colors="#6f7682", linewidths=0.4, alpha=0.7)
        for line in panel["lines"]:
            look = style(line["series"])["color"]
            axes.plot(line["x"], line["y"], color=look, lw=0.9)
            axes.plot(line["x"][0], line["y"][0], "o", color="black", ms=4)
            axes.plot(line["x"][-1], line["y"][-1], "o", color=look, ms=5, mec="white", mew=0.8)
        axes.set(xscale="log", yscale="log", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
        axes.set_title(panel["lines"][0]["label"], loc="left", fontsize="medium")
        plain_ticks(axes.xaxis, axes.yaxis)
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    for axes in all_axes[: len(panels)][-3:]:
        axes.tick_params(labelbottom=True)
    bar = figure.colorbar(mesh, ax=all_axes, aspect=30, pad=0.02, label=LOSSES[name])
    plain_ticks(bar.ax.yaxis)


def plain_ticks(*of_axes):
    """Ticks as plain numbers, some in a decade where an axis has few decades."""
    for axis in of_axes:
        low, high = axis.get_view_interval()
        steps = (1, 1.5, 2, 3, 4, 5, 7) if high < 20 * low else (1, 3) if high < 90 * low else (1,)
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=steps, numticks=8))
        axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(matplotlib.ticker.NullLocator())


def lorenz(curves, paths):
    figure = plt.figure(figsize=(9.2, 9.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    axes = above.subplots()
    (panel,) = curves["panels"]
    draw_lines(axes, panel, log_x=True)
    axes.set(xscale="log", yscale="log", xlabel=curves["x"], xlim=(2e3, None))
    plain_ticks(axes.yaxis)
    axes.legend(frameon=False, ncols=3, handlelength=3.5)
    # All begin at the same parameters, but 0 steps have no place on the axis.
    (start,) = {f"{line['y'][0]:.3g}" for line in panel["lines"] if line["x"][0] == 0}
    axes.set_title(f"before the first step: {start}", loc="left", fontsize="small")
    all_axes = below.subplots(2, 3, sharex=True, sharey=True)
    draw_paths(below, all_axes.flat, paths, "lorenz")
    for axes in all_axes.flat:
        axes.plot(10, 28, "X", color="white", mec="black", ms=8)
    below.supxlabel("a", fontsize="medium")
    below.supylabel("r", fontsize="medium")
    return figure


def schedule(paths):
    figure, all_axes = plt.subplots(
        2, 3, figsize=(9.2, 6), layout="constrained", sharex=True, sharey=True
    )
    draw_paths(figure, all_axes.flat, paths, "schedule-train-loss")
    x, y, loss = surface_of(paths)
    row, column = np.unravel_index(np.nanargmin(loss), loss.shape)
    for axes in all_axes.flat:
        axes.plot(x[column], y[row], "X", color="white", mec="black", ms=8)
    figure.supxlabel(paths["x"], fontsize="medium")
    figure.supylabel(paths["panels"][0]["y"], fontsize="medium")
    return figure


def swimmer(curves):
    figure, axes = plt.subplots(figsize=(9.2, 3.9), layout="constrained")
    draw_lines(axes, curves["panels"][0])
    axes.axhline(325, color="#999999", lw=0.8, ls=":")
    axes.set_xlabel(curves["x"])
    axes.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=" "))
    axes.legend(frameon=False, handlelength=3.5)
    return figure


def variance(chart):
    figure, axes = plt.subplots(figsize=(9.2, 3.9), layout="constrained")
    draw_lines(axes, chart["panels"][0])
    axes.set(xscale="log", yscale="log", xlabel=chart["x"])
    axes.legend(frameon=False, handlelength=3.5)
    return figure


DRAW = {
    "lorenz": ("lorenz", lorenz),
    "schedule-train-loss": ("schedule-train-loss", schedule),
    "swimmer": ("swimmer", swimmer),
    "lopt-fashion-mnist": ("lopt-variance", variance),
}


def main():
    for name, (picture, draw) in DRAW.items():
        data = [numbers(name, figure) for figure in FIGURES[name]]
        if None in data:
            print(f"{picture}: no numbers in docs/data; run `unspool reproduce {name}` first")
            continue
        draw(*data).savefig(HERE / f"{picture}.svg", metadata={"Date": None}, dpi=80)
        print(f"{picture}.svg")
    gait = RUNS / "swimmer" / "pictures" / "NRES.png"
    if gait.exists():
        shutil.copy(gait, HERE / "swimmer-gait.png")


if __name__ == "__main__":
    main()
