"""The variance against the number of unrolls, as Vicol et al. (2021) draw it, and its law."""

import numpy as np
import pytest
from scipy import special

from unspool.experiments import UnrollVarianceExperiment
from unspool.records.files import as_array

NUM_PARAMS = 614


@pytest.fixture
def series(outcome):
    """Line, points and band of a sequence's chart, by label and style."""
    charts = outcome(UnrollVarianceExperiment).study.experiment.charts
    return lambda name: {
        (one.label, one.style): one
        for chart in charts
        if chart.title == name
        for one in chart.series
    }


@pytest.mark.parametrize("name", ["English", "Random characters", "One character repeated"])
def test_points_are_those_of_the_closed_form(series, name):
    """Within 5 standard errors, where rounding in float32 is no more than a tenth of it."""
    factor = special.stdtrit(UnrollVarianceExperiment().seeds - 1, 0.975)
    found = series(name)
    for label in ("PES", "PES+Analytic", "ESSingle"):
        line, points, band = (found[label, style] for style in ("line", "points", "band"))
        expected = np.interp(np.log(points.x), np.log(line.x), line.y)
        error = (as_array(band.high) - as_array(band.low)) / 2 / factor
        clear = expected > 0.2
        assert np.all(np.abs(points.y - expected)[clear] <= 5 * error[clear])
        assert np.all(error[clear] < 0.15 * expected[clear])


def places(found):
    """PES with 1, 10 and 1000 unrolls, and standard errors."""
    points, band = found["PES", "points"], found["PES", "band"]
    factor = special.stdtrit(UnrollVarianceExperiment().seeds - 1, 0.975)
    chosen = np.searchsorted(points.x, [1, 10, 1000])
    error = (as_array(band.high) - as_array(band.low)) / 2 / factor
    return as_array(points.y)[chosen], error[chosen]


def test_unrelated_gradients_make_it_grow(series):
    (one, _, most), error = places(series("Random characters"))
    assert most > 50 * one and most - one > 4 * np.hypot(error[0], error[2])


def test_in_english_it_falls_and_then_grows(series):
    (one, ten, most), error = places(series("English"))
    assert most - one > 4 * np.hypot(error[0], error[2])
    assert one - ten > 2 * np.hypot(error[0], error[1])


def test_aligned_gradients_halve_it(series):
    """Published: towards half of the number of parameters."""
    (_, _, most), error = places(series("One character repeated"))
    assert abs(most - NUM_PARAMS / 2) < 4 * error[2]
