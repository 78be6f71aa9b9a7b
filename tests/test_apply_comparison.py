"""Who wins, a learned optimizer or tuned ones, from numbers that are known."""

import numpy as np
import pytest

from unspool.experiments import baselines
from unspool.experiments.optimizer_comparison import Grid, OptimizerComparison


def compared(learned, adam, selection_losses=None, rates=(0.1, 1.0)):
    """Two points for each run: where all begin, and where they end."""
    curves = lambda ends: np.stack([np.ones_like(np.array(ends)), np.array(ends)], -1)
    selection_losses = np.array(adam if selection_losses is None else selection_losses)
    grid = Grid(rates, selection_losses, curves(adam))
    return OptimizerComparison(np.array([0, 9]), "validation loss", curves(learned), {"Adam": grid})


def test_a_clear_winner_is_named_with_the_interval_of_the_differences():
    learned, adam = [0.5, 0.6, 0.7], [[0.61, 0.70, 0.81], [2.0, 2.0, 2.0]]
    said = compared(learned, adam).summary()
    # By hand: differences -0.11, -0.10, -0.11, whose t-interval reaches 4.303 standard errors out.
    assert "The learned optimizer ends lower than Adam: seed by seed, learned minus Adam" in said
    assert "−0.107 (−0.121 to −0.092)" in said
    assert "0.60 (0.35 to 0.85) with the learned optimizer" in said
    assert "with Adam at a learning rate of 0.1" in said
    said = compared(adam[0], [learned, adam[1]]).summary()
    assert "Adam ends lower than the learned optimizer" in said and "0.107 (0.092 to" in said


def test_what_cannot_be_told_apart_is_not_told_apart():
    said = compared([0.5, 0.6, 0.7], [[0.6, 0.5, 0.71], [2.0, 2.0, 2.0]]).summary()
    assert "The learned optimizer and Adam are not told apart" in said and "lower than" not in said
    ends = [0.5, 0.6]
    said = compared(ends, [ends, [2.0, 2.0]]).summary()
    assert "not told apart: seed by seed, learned minus Adam is 0 (0 to 0)" in said
    said = compared([0.5], [[0.6], [2.0]]).summary()
    assert "One seed cannot tell" in said and "interval" not in said


def test_the_rate_is_chosen_on_other_runs_than_those_shown():
    shown, selection_losses = [[0.9, 0.9], [0.1, 0.1]], [[0.1, 0.1], [0.9, 0.9]]
    comparison = compared([0.5, 0.5], shown, selection_losses)
    assert comparison.grids["Adam"].best == 0
    said = comparison.summary()
    assert "other runs, which are not shown" in said
    assert "The rate of Adam is at the end of its grid" in said


def test_runs_that_diverge_are_counted_and_drawn():
    nan = float("nan")
    adam = [[0.9, 0.8, 0.7], [0.1, nan, 0.1], [50.0, 50.0, 50.0]]
    comparison = compared([0.5, nan, 0.5], adam, rates=(0.01, 0.1, 1.0))
    # The rate with a diverged run is not chosen, though its other runs end lower.
    assert comparison.grids["Adam"].best == 0
    said = comparison.summary()
    assert "1 of 3 runs diverged with the learned optimizer, and 0 of 3 runs with Adam" in said
    assert "Of the two, Adam is the one to trust" in said
    _, chart = comparison.charts()
    (off,) = [s for s in chart.series if s.label == "off the chart"]
    assert off.x == [0.1, 1.0] and np.isfinite(off.y).all()
    assert "Adam diverged at 0.1 in 1 of 3 runs." in chart.note
    (line,) = [s for s in chart.series if s.label == "Adam" and s.style == "line"]
    assert line.y[0] == pytest.approx(0.8) and np.isnan(line.y[1:]).all()


def test_everything_may_diverge():
    nan = float("nan")
    comparison = compared([nan, nan], [[nan, nan], [nan, nan]])
    assert len(comparison.charts()) == 2
    assert "2 of 2 runs diverged with the learned optimizer" in comparison.summary()


def test_losses_below_zero_have_a_linear_axis():
    first, second = compared([-0.5, 0.4], [[0.3, 0.4], [0.5, 0.6]]).charts()
    assert first.y_scale == second.y_scale == "linear"
    assert compared([0.5, 0.4], [[0.3, 0.4], [0.5, 0.6]]).charts()[0].y_scale == "log"


@pytest.mark.parametrize("num_steps", [1, 7, 50, 51, 1000, 1001])
def test_the_last_step_is_measured(num_steps):
    ends = baselines.measured_steps(num_steps)
    assert ends[-1] == num_steps and np.all(np.diff(ends, prepend=0) > 0) and len(ends) <= 50


def test_no_band_of_losses_reaches_below_zero():
    """The t-interval of 0.1, 0.2 and 3 does, by 3, and so the band is the range of the runs."""
    comparison = compared([0.1, 0.2, 3.0], [[0.3, 0.4, 0.5], [0.5, 0.6, 0.7]])
    bands = {s.label: s for s in comparison.charts()[0].series if s.style == "band"}
    assert (bands["learned"].low[-1], bands["learned"].high[-1]) == pytest.approx((0.1, 3.0))
    assert min(min(band.low) for band in bands.values()) > 0
    assert "range 0.1 to 3" in comparison.summary()
