"""Figures show the numbers of the records, in the colors of reports, and pool what is alike."""

import importlib
import sys

import jax
import numpy as np
import optax
import pytest

import unspool
from unspool._report.style import PALETTE
from unspool.problems import Cubic
from unspool.records import Surface, read_run

plt = pytest.importorskip("matplotlib.pyplot")

PROBLEM = Cubic(horizon=4)


@pytest.fixture(autouse=True)
def close_figures():
    """Leaves no figure open, on a machine with or without a screen."""
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def records():
    job = PROBLEM, unspool.TBPTT(2, 2), optax.sgd(0.01)
    return list(unspool.train(*job, num_updates=6, log_every=2, key=jax.random.key(0)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one setting, and a training with another learning rate."""
    directory = tmp_path_factory.mktemp("runs")
    for name, seed, rate in (("a", 0, 0.01), ("b", 1, 0.01), ("c", 0, 0.02)):
        config = unspool.TrainConfig(
            problem=unspool.Spec("cubic"),
            estimator=unspool.Spec("nres", {"num_workers": 2}),
            optimizer=unspool.Spec("sgd", {"learning_rate": rate}),
            num_updates=4,
            num_episodes=1,
            evaluate_every=4,
            seed=seed,
        )
        for _ in unspool.train_run(config, directory / name):
            pass
    return directory


def with_losses(records, losses):
    return [record._replace(loss=loss) for record, loss in zip(records, losses, strict=True)]


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_a_curve_has_the_losses_of_the_records_and_what_they_cost(records):
    costs = {
        "updates": [2, 4, 6],
        "steps": [record.steps + record.warmup_steps for record in records],
        "seconds": [record.seconds for record in records],
    }
    for x, expected in costs.items():
        (line,) = unspool.plot.curves(records, x=x).get_lines()
        np.testing.assert_array_equal(line.get_xdata(), expected)
        np.testing.assert_array_equal(line.get_ydata(), [record.loss for record in records])
    assert records[0].warmup_steps > 0
    assert unspool.plot.curves(iter(records)).get_ylabel() == "loss"


@pytest.mark.parametrize(
    "first, second, mean, scale",
    [
        # Losses below zero may have any interval.
        ([-3.0, -2.0, -1.0], [-5.0, -2.0, -3.0], [-4.0, -2.0, -2.0], "linear"),
        ([90.0, 20.0, 1.0], [10.0, 5.0, 4.0], [30.0, 10.0, 2.0], "log"),
    ],
)
def test_seeds_are_pooled_with_a_band(records, first, second, mean, scale):
    seeds = [with_losses(records, first), with_losses(records, second)]
    ax = unspool.plot.curves({"NRES": seeds})
    assert ax.get_yscale() == scale
    np.testing.assert_allclose(lines(ax)["NRES"].get_ydata(), mean)
    (band,) = ax.collections
    # Student's factor for two seeds is 12.7; where they agree the band has no width.
    ends = np.ptp(band.get_paths()[0].vertices[:, 1])
    assert ends > 2 * np.ptp(mean)
    assert len(unspool.plot.curves({"a": seeds[0], "b": seeds[1]}).get_lines()) == 2


def test_lines_have_the_colors_of_reports_and_a_second_call_goes_on_with_them(records):
    ax = unspool.plot.curves({"a": records, "b": records})
    assert unspool.plot.curves({"c": records}, ax=ax) is ax
    found = lines(ax)
    assert list(found) == ["a", "b", "c"]
    colors = [light for light, _ in PALETTE[:3]]
    assert [line.get_color() for line in found.values()] == colors
    assert len(ax.get_legend().get_texts()) == 3


def test_a_loss_that_is_not_finite_ends_its_curve(records):
    (line,) = unspool.plot.curves(with_losses(records, [2.0, 1.0, np.nan])).get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [2.0, 1.0])
    (line,) = unspool.plot.curves(with_losses(records, [2.0, np.nan, 1.0])).get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [2.0])


def test_a_band_tells_no_lie(records):
    """Neither of positive losses below zero, nor where the trainings lie in two groups."""
    seeds = [with_losses(records, [loss] * 3) for loss in (0.5, 0.6, 8.0)]
    (band,) = unspool.plot.curves({"NRES": seeds}).collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.5, 8.0)
    groups = [with_losses(records, [x] * 3) for x in (1.0, 1.1, 1.2, 1.3, 9.0, 9.1, 9.2, 9.3)]
    ax = unspool.plot.curves({"NRES": groups})
    assert len(ax.get_lines()) == 8 and not ax.collections
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["NRES"]


def test_a_run_is_drawn_by_its_directory_or_as_it_was_read(runs):
    run = unspool.Run.open(runs / "a")
    logged = [line.loss for line in run.read_metrics()[1:]]
    for each in (run, runs / "a", str(runs / "a"), read_run(runs / "a"), [run]):
        (line,) = unspool.plot.curves(each).get_lines()
        np.testing.assert_allclose(line.get_ydata(), logged)
        assert line.get_label() == "NRES"


def test_only_runs_of_the_same_settings_are_pooled(runs):
    assert len(unspool.plot.curves([runs / "a", runs / "b"]).collections) == 1
    ax = unspool.plot.curves(runs)
    assert len(lines(ax)) == 2 and len(ax.collections) == 1
    with pytest.raises(ValueError, match="label 'NRES' must differ in nothing but the seed, got 2"):
        unspool.plot.curves({"NRES": [runs / "a", runs / "c"]})
    named = unspool.plot.curves({"slow": [runs / "a", runs / "b"], "fast": runs / "c"})
    assert list(lines(named)) == ["slow", "fast"]


def test_evaluations_are_drawn_where_every_run_has_some(runs, tmp_path):
    config = unspool.TrainConfig.read(runs / "a" / "config.json")
    often = {"num_episodes": 1, "evaluate_every": 2}
    config = unspool.TrainConfig(
        problem=config.problem, estimator=config.estimator, num_updates=4, **often
    )
    for _ in unspool.train_run(config, tmp_path / "often"):
        pass
    ax = unspool.plot.curves(tmp_path / "often")
    evaluated = unspool.Run.open(tmp_path / "often").read_evaluations()
    assert ax.get_ylabel() == "evaluation loss"
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), [0, 2, 4])
    np.testing.assert_allclose(line.get_ydata(), [each.loss for each in evaluated])
    mixed = unspool.plot.curves({"often": tmp_path / "often", "rarely": runs / "a"})
    assert mixed.get_ylabel() == "loss"


def test_a_path_has_the_parameters_and_is_drawn_over_the_loss(records):
    ax = unspool.plot.paths({"TBPTT": [records, records]}, over=PROBLEM)
    path = lines(ax)["TBPTT"].get_xydata()
    levels, slopes = ([float(r.params[name]) for r in records] for name in ("level", "slope"))
    np.testing.assert_allclose(path, np.stack([levels, slopes], axis=1))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("level", "slope")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["TBPTT"]
    # All of the path lies within what is shown of the loss.
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < min(levels) and max(levels) < right
    assert bottom < min(slopes) and max(slopes) < top
    further = unspool.plot.paths(records, ax=unspool.plot.paths(records))
    colors = [line.get_color() for line in further.get_lines() if line.get_linestyle() != "None"]
    assert colors == [light for light, _ in PALETTE[:2]]
    swapped = unspool.plot.paths(records, which=(1, 0))
    np.testing.assert_allclose(swapped.get_lines()[0].get_xydata(), path[:, ::-1])


def test_the_loss_under_a_path_is_that_of_the_problem(records, monkeypatch):
    shown = []
    # As an attribute of the package, `paths` is the function.
    module = importlib.import_module("unspool.plot.paths")
    monkeypatch.setattr(module, "_draw_surface", lambda ax, over, color: shown.append(over))
    unspool.plot.paths(records, over=PROBLEM)
    unspool.plot.paths(records, over=PROBLEM, sigma=0.5)
    plain, smooth = shown
    at = {"level": jax.numpy.array(plain.x[7]), "slope": jax.numpy.array(plain.y[30])}
    found = unspool.evaluate(PROBLEM, at, key=jax.random.key(0))
    assert plain.loss[30][7] == pytest.approx(float(found.loss), rel=1e-5)
    assert smooth.label == "smoothed loss"
    assert not np.allclose(plain.loss, smooth.loss, rtol=0.01)


def test_a_surface_that_was_read_is_drawn_too(records):
    surface = Surface(x=[0.0, 1.0], y=[0.0, 1.0], loss=[[1.0, 2.0], [3.0, 100.0]], label="height")
    ax = unspool.plot.paths(records, over=surface)
    assert ax.figure.axes[1].get_ylabel() == "height"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda records: unspool.plot.curves(records, x="time"), "x must be one of 'updates'"),
        (lambda records: unspool.plot.curves([]), "got list without entries"),
        (lambda records: unspool.plot.curves(3), "or a dict of either by label, got int"),
        (lambda records: unspool.plot.curves([records, records]), "a dict of either by label"),
        (lambda records: unspool.plot.curves({"a": []}), "got list without entries"),
        (
            lambda records: unspool.plot.curves([records[0]._replace(loss=np.nan)]),
            "must have a loss that is finite",
        ),
        (lambda records: unspool.plot.paths(records, which=(0, 2)), r"below 2, .* got \(0, 2\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(records, call, message):
    with pytest.raises(ValueError, match=message):
        call(records)
    assert plt.get_fignums() == []


def test_without_matplotlib_it_says_what_to_install(records, monkeypatch):
    monkeypatch.delitem(sys.modules, "unspool.plot.style", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"need matplotlib.*pip install 'unspool\[notebook\]'"):
        unspool.plot.curves(records)
