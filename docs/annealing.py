"""Draws docs/annealing.svg: sigma, steps and loss on Lorenz, annealed and with one sigma."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

import unspool
from unspool.experiments.losses import losses_at

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402

PROBLEM, JUDGE = unspool.problems.Lorenz(), unspool.problems.LorenzFromRandomStarts()
NUM_UPDATES, EVERY, SEEDS = 260, 10, 2000 + jnp.arange(8)
SIGMAS = {
    "annealed": unspool.Annealing(0.18, floor=0.012),
    "sigma 0.18": 0.18,
    "sigma 0.04": 0.04,
}
STYLES = {
    "annealed": ("#0072b2", "-"),
    "sigma 0.18": ("#d55e00", "--"),
    "sigma 0.04": ("#666", ":"),
}


@eqx.filter_jit
def train(sigma):
    """Sigma, the size of steps in an episode, and the parameters, for each seed and update."""
    estimator = unspool.NRES(100, 100, sigma, directions=unspool.LatticeDirections())
    optimizer = optax.chain(optax.adam(1.8, b1=0.8, b2=0.99), unspool.scale_by_sigma())
    init, step = unspool.make_step(PROBLEM, estimator, optimizer)

    def one(seed):
        key = jax.random.key(seed)

        def update(state, _):
            now = state.workers
            found = estimator.current_sigma(now), 1.8 * estimator.current_pace(now) / 20
            state, _ = step(state)
            return state, (*found, state.params)

        state = init(PROBLEM.init_params(key=key), key=key)
        return jax.lax.scan(update, state, length=NUM_UPDATES)[1]

    return jax.vmap(one)(SEEDS)


def losses(params):
    """The mean squared error over fresh trajectories, of every tenth update."""
    points = np.asarray(params)[:, EVERY - 1 :: EVERY]
    flat = points.reshape(-1, 2)
    found = losses_at(JUDGE, flat, like=flat[0], key=jax.random.key(7), num_episodes=300)
    return np.concatenate([x for x, _ in found]).reshape(points.shape[:2])


def main():
    figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.0), layout="constrained")
    labels = "sigma", "rate of Adam", "loss on fresh trajectories"
    for label, sigma in SIGMAS.items():
        sigmas, rates, params = train(sigma)
        color, line = STYLES[label]
        updates = np.arange(1, NUM_UPDATES + 1)
        looks = updates[EVERY - 1 :: EVERY]
        for axes, x, y in zip(
            panels, (updates, updates, looks), (sigmas, rates, losses(params)), strict=True
        ):
            y = np.broadcast_to(np.asarray(y), (len(SEEDS), len(x)))
            x, y = (x, y) if x is looks else (x[::5], y[:, ::5])
            low, middle, high = np.quantile(y, (0, 0.5, 1), axis=0)
            axes.plot(x, middle, line, color=color, label=label)
            axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        print(label, "ends at", np.round(np.quantile(y[:, -5:].mean(1), (0, 0.5, 1)), 1))
    for axes, label in zip(panels, labels, strict=True):
        axes.set(xlabel="updates", ylabel=label, yscale="log", xlim=(0, NUM_UPDATES))
        axes.spines[["top", "right"]].set_visible(False)
    panels[2].axhline(52, color="#999", linewidth=0.8)
    panels[2].legend(frameon=False)
    figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
