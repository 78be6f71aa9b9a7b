"""Draws `bouncing-ball.svg`: what derivatives say of `examples/bouncing_ball.py`, and what is so.

    .venv/bin/python docs/bouncing_ball.py

A quarter of a CPU minute.
"""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

import unspool

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#aaaaaa"
LOW, HIGH, REACH = 0.9, 2.1, 0.025


def losses(problem, heights):
    """The loss of each height, and its derivative as reverse mode has it."""

    def loss(height):
        step = lambda state, t: problem.step(height, state, t, key=None)
        state = problem.init_state(height, key=None)
        return jnp.mean(jax.lax.scan(step, state, jnp.arange(problem.horizon))[1])

    found = jax.jit(jax.vmap(jax.value_and_grad(loss)))(jnp.array(heights))
    return [np.array(values) for values in found]


def smoothed(heights, loss, sigma, at):
    """The mean loss of normal perturbations of `at`, and the derivative of that."""
    z = (heights - at[:, np.newaxis]) / sigma
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights @ loss, (weights * z) @ loss / sigma


def path(problem, estimator, learning_rate, num_updates):
    """The height after each update, from the start on."""
    records = unspool.train(
        problem, estimator, optax.adam(learning_rate), num_updates=num_updates,
        key=jax.random.key(0), log_every=1,
    )  # fmt: skip
    start = problem.init_params(key=jax.random.key(0))
    return [float(start), *(float(record.params) for record in records)]


def main():
    example = runpy.run_path(str(HERE.parent / "examples" / "bouncing_ball.py"))
    problem, sigma, num_updates = example["Catch"](), example["SIGMA"], example["NUM_UPDATES"]
    heights = np.linspace(LOW - 5 * sigma, HIGH + 5 * sigma, 6001)
    loss, slope = losses(problem, heights)
    inside = (heights >= LOW) & (heights <= HIGH)
    smooth, _ = smoothed(heights, loss, sigma, heights[inside])

    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
    left.plot(heights[inside], loss[inside], color=GRAY, linewidth=0.7, label="the loss")
    left.plot(heights[inside], smooth, color=BLUE, label=f"smoothed, $\\sigma$ = {sigma} m")
    at = np.arange(LOW + 0.05, HIGH, 0.1)
    value, exact = smoothed(heights, loss, sigma, at)
    held = np.interp(at, heights, slope)
    for index, (x, y, s) in enumerate(zip(at, value, held, strict=True)):
        label = "the derivative, bounces held" if index == 0 else None
        ends = dict(color=ORANGE, linewidth=2.2, solid_capstyle="round", label=label)
        left.plot([x - REACH, x + REACH], [y - REACH * s, y + REACH * s], **ends)
    print("opposite signs at", np.round(at[exact * held < 0], 2).tolist())

    rate = optax.cosine_decay_schedule(0.02, num_updates)
    estimators = {
        "BPTT": (unspool.BPTT(1), ORANGE, "s"),
        "NRES": (unspool.NRES(40, 40, sigma), BLUE, "o"),
        "PES": (unspool.PES(40, 40, sigma), GREEN, "^"),
    }
    start = example["START"]
    height_at = lambda x: smoothed(heights, loss, sigma, np.array([x]))[0][0]
    left.plot(start, height_at(start), "x", color="black", markersize=8, label="start")
    for name, (estimator, color, marker) in estimators.items():
        heights_passed = path(problem, estimator, rate, num_updates)
        end = heights_passed[-1]
        left.plot(end, height_at(end), marker, color=color, markersize=7, label=f"{name} ends")
        right.plot(heights_passed, color=color, label=name)
    left.set(xlabel="height of the drop (m)", ylabel="mean squared distance from the hand (m²)")
    left.set_ylim(-0.01, 0.3)
    left.legend(frameon=False, ncols=2, fontsize=8, loc="upper left")
    best = heights[inside][np.argmin(smooth)]
    right.axhline(best, color=GRAY, linewidth=0.8, linestyle=":")
    right.annotate(
        "least smoothed loss", (0, best), (0, -11), textcoords="offset points", fontsize=8
    )
    right.set(xlabel="update", ylabel="height of the drop (m)")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "bouncing-ball.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
