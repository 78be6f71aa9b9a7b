"""Draws docs/smoothing.svg: what PES and NRES minimize, on a problem with closed forms."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

HORIZON, FREQUENCY, SIGMA = 12, 1.0, 0.15


def objectives(theta):
    """The time averages of the cosine's mean: without noise, with one noise, with fresh noise."""
    step = np.arange(1, HORIZON + 1)[:, None]
    wave = np.cos(FREQUENCY * step * theta)
    variances = {
        "no smoothing": 0.0 * step,
        "NRES: one noise per episode": (SIGMA * step) ** 2,
        "PES: fresh noise every step": SIGMA**2 * step,
    }
    return {
        name: np.mean(np.exp(-(FREQUENCY**2) * variance / 2) * wave, axis=0)
        for name, variance in variances.items()
    }


def main():
    theta = np.linspace(0.0, np.pi, 300)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    styles = zip(("#999999", "#0072b2", "#d55e00"), ("-", "-", "--"), strict=True)
    for (name, value), (color, line) in zip(objectives(theta).items(), styles, strict=True):
        axes.plot(theta, value, line, color=color, label=name)
        lowest = np.argmin(value)
        axes.plot(theta[lowest], value[lowest], "o", color=color)
        print(f"{name}: minimum at {theta[lowest]:.3f}")
    axes.set(xlabel="parameter", ylabel="objective", xlim=(0, np.pi))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
