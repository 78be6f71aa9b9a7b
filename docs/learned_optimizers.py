"""Draws `learned-optimizers.svg`: a learned optimizer on tasks that it was not meta-trained on.

    .venv/bin/python docs/learned_optimizers.py

Meta-trains `FactoredMLP` on four tasks, writes it to a file, reads it back, and trains other tasks
with it, with the descent it started from, and with SGD and Adam whose rates are tuned on each of
them. Prints every number of `learned-optimizers.md`.
"""

import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import sklearn.datasets

import unspool
from unspool import data, export
from unspool._statistics.intervals import format_estimate, t_interval
from unspool.experiments.baselines import BASELINES, losses_while_training, measured_steps
from unspool.experiments.optimizer_comparison import Grid, OptimizerComparison
from unspool.problems.learned_optimizer import (
    CNN,
    MLP,
    CharacterLM,
    FactoredMLP,
    LearnedAdam,
    LearnedSGD,
    LogUniform,
    MLPOptimizer,
    OptimizerTraining,
    Task,
    TaskFamily,
    classifier,
    image_task,
    text_task,
)
from unspool.problems.schedules import Data, Logarithm, ValidLoss

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "unspool", "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter  # noqa: E402

HERE = Path(__file__).parent
HORIZON, SHORTEST, NUM_UPDATES = 300, 30, 1200
SHOWN, CHOOSING = range(10), range(100, 105)
COLORS = {"learned": "C0", "SGD, tuned here": "C1", "Adam, tuned here": "C2"}


def meta_training(optimizer):
    """One problem for each of four tasks: images of digits, small networks."""
    family = TaskFamily({"digits": data.digits()}, (8, 32), (1, 2), batch_size=(16, 64))
    meta_loss, lengths = Logarithm(ValidLoss()), LogUniform(SHORTEST)
    return [
        OptimizerTraining(optimizer, task, HORIZON, meta_loss, lengths) for task in family.sample(4)
    ]


def meta_losses(problems, params):
    """The meta-loss on each task, of runs that are not trained on."""
    key = jax.random.key(1000)
    return [unspool.evaluate(p, params, key=key, num_episodes=20).loss for p in problems]


def tuned_rate():
    """The rate of momentum SGD that is best for the meta-training tasks."""
    found, problems = {}, meta_training(LearnedSGD())
    for rate in np.logspace(-2, 0, 9):
        params = LearnedSGD(float(rate)).init_params(key=jax.random.key(0))
        found[float(rate)] = float(np.mean(meta_losses(problems, params)))
    print("rates", {f"{rate:.3g}": round(loss, 3) for rate, loss in found.items()}, flush=True)
    return min(found, key=found.__getitem__)


def meta_train(rate, path):
    """Meta-trains from SGD of that rate, and writes the file."""
    optimizer = FactoredMLP(learning_rate=rate)
    problems = meta_training(optimizer)
    engine = unspool.JointProblem(problems)
    estimator = unspool.NRES(num_workers=16, window=10, sigma=0.01)
    step = optax.adam(optax.cosine_decay_schedule(3e-3, NUM_UPDATES))
    key = jax.random.key(0)
    records = unspool.train(
        engine, estimator, step, num_updates=NUM_UPDATES, key=key, log_every=NUM_UPDATES // 12
    )
    for record in records:
        print(record.update, f"{record.loss:.3f}, {record.dropped} dropped,", end=" ")
        print(f"{record.seconds:.0f} s, {record.steps} steps", flush=True)
    start = meta_losses(problems, optimizer.init_params(key=key))
    end = meta_losses(problems, record.params)
    print("meta-losses", np.round(start, 3), "before,", np.round(end, 3), "after")
    export.save_optimizer(optimizer, record.params, path, notes={"updates": NUM_UPDATES})


def table_task(name, hidden, batch_size):
    """A table of scikit-learn's, standardized by the rows that are trained on."""
    inputs, targets = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    table = data.Dataset(inputs.astype(np.float32), targets.astype(np.int32))
    train, valid = data.standardize(*data.split(table, 0.8, -1))
    network = MLP((inputs.shape[1], *hidden, int(targets.max()) + 1))
    return Task(classifier(network), Data(tuple(train), tuple(valid), batch_size))


def held_out():
    """The tasks to be judged on, with the steps of a run; written down before any was run."""
    digits = data.digits()
    names = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
    text = "\n".join(getattr(sklearn.datasets, f"load_{name}")().DESCR for name in names)
    language = CharacterLM(len(set(text)))
    square = digits._replace(inputs=digits.inputs.reshape(-1, 8, 8))
    larger = image_task(digits, MLP((64, 64, 64, 64, 10)), 64)
    return {
        "digits, 3 x 64 units": (larger, HORIZON),
        "digits, 2 convolutions": (image_task(square, CNN((16, 16), (8, 8)), 32), HORIZON),
        "breast cancer, 2 x 32 units": (table_task("breast_cancer", (32, 32), 32), HORIZON),
        "wine, 1 x 16 units": (table_task("wine", (16,), 16), HORIZON),
        "text, LSTM of 32 units": (text_task(text, language, 32, 16), HORIZON),
        "digits, 3 x 64 units, 1000 steps": (larger, 1000),
    }


def compare(task, num_steps, learned, start_rate):
    """What `unspool apply` compares, and the descent that meta-training started from."""

    def curves(make, rate, seeds, only_end=False):
        runs = (
            losses_while_training(
                task, make, num_steps, jnp.asarray(rate), jax.random.key(seed), jnp.array(only_end)
            )
            for seed in seeds
        )
        return np.stack([*runs])

    grids = {}
    for label, (make, rates) in BASELINES.items():
        ends = np.stack([curves(make, rate, CHOOSING, True)[:, -1] for rate in rates])
        best = rates[Grid(rates, ends, ends[:, :, None]).best]
        shown = curves(make, best, SHOWN)
        # Of no other rate the curves are looked at.
        grids[label] = Grid(rates, ends, np.broadcast_to(shown, (len(rates), *shown.shape)))
    start = curves(BASELINES["momentum SGD"].make, start_rate, SHOWN)
    steps = np.append(0, measured_steps(num_steps))
    return OptimizerComparison(steps, "validation loss", curves(learned, 0.0, SHOWN), grids), start


def row(name, comparison, start):
    """A row of the page's table: means, and how far the learned optimizer ends below each."""

    def words(values):
        found = t_interval(values)
        return format_estimate(found)

    ends = {"as it started": start[:, -1]} | {
        f"{label} {grid.rates[grid.best]:g}": grid.best_curves[:, -1]
        for label, grid in comparison.grids.items()
    }
    ours = comparison.learned[:, -1]
    print(f"\n{name}: learned {words(ours)}, runs {[round(float(x), 2) for x in np.sort(ours)]}")
    for label, theirs in ends.items():
        wins = f"lower in {int(np.sum(ours < theirs))} of {len(ours)} runs"
        print(f"  {label}: {words(theirs)}, learned minus it {words(ours - theirs)}, {wins}")
    print(" ", comparison.summary(), flush=True)


def draw(axes, name, comparison):
    grids = comparison.grids
    shown = {
        "learned": comparison.learned,
        "SGD, tuned here": grids["momentum SGD"].best_curves,
        "Adam, tuned here": grids["Adam"].best_curves,
    }
    for label, curves in shown.items():
        found = [t_interval(column) for column in curves.T]
        mean, low, high = np.array([(i.mean, i.low, i.high) for i in found]).T
        axes.plot(comparison.steps, mean, color=COLORS[label], label=label)
        if np.any(low <= 0):  # No loss is, so the band is then the range of the runs.
            low, high = curves.min(axis=0), curves.max(axis=0)
        axes.fill_between(comparison.steps, low, high, color=COLORS[label], alpha=0.2, lw=0)
    axes.set_title(name, fontsize="medium")
    axes.set(yscale="log", xlabel="steps")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.spines[["top", "right"]].set_visible(False)


def cost():
    """Milliseconds of a training step with each optimizer, the least of five."""
    task = image_task(data.digits(), MLP((64, 32, 32, 10)), 64)
    of = {"SGD": optax.sgd(0.1, 0.9), "Adam": optax.adam(1e-3)}
    for learned in (LearnedSGD(), LearnedAdam(), FactoredMLP(), MLPOptimizer()):
        params = learned.init_params(key=jax.random.key(0))
        of[type(learned).__name__] = export.as_optax(learned, params)
    best = dict.fromkeys(of, np.inf)
    makes = {name: lambda rate, own=own: own for name, own in of.items()}
    for _ in range(6):
        for name, make in makes.items():
            began = time.perf_counter()
            losses_while_training(
                task, make, 1000, jnp.array(0.0), jax.random.key(0), jnp.array(True)
            ).block_until_ready()
            best[name] = min(best[name], time.perf_counter() - began)
    print("\nms per step", {name: round(seconds, 3) for name, seconds in best.items()})


def main():
    began = time.perf_counter()
    rate = tuned_rate()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "optimizer.safetensors"
        meta_train(rate, file)
        optimizer = export.load_optimizer(file)
    print(f"meta-trained after {time.perf_counter() - began:.0f} s", flush=True)
    learned = lambda rate: optimizer
    figure, panels = plt.subplots(2, 3, figsize=(9, 5.2), layout="constrained")
    for axes, (name, (task, num_steps)) in zip(panels.flat, held_out().items(), strict=True):
        comparison, start = compare(task, num_steps, learned, rate)
        row(name, comparison, start)
        draw(axes, name, comparison)
    for axes in panels[:, 0]:
        axes.set_ylabel("validation loss")
    panels[0, 0].legend(frameon=False)
    figure.savefig(HERE / "learned-optimizers.svg", metadata={"Date": None})
    cost()
    print(f"{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
