"""Influence balancing: who finds -1/6, and who goes the other way."""

import numpy as np
import pytest
from scipy import special

from unspool.experiments import InfluenceBalancingExperiment
from unspool.records.files import as_array

EPISODES_OPTIMUM = -0.1596
"""The parameter with the least loss averaged over episodes of 3000 steps, by RTRL's exact
gradient; without resets it is -1/6."""


@pytest.fixture
def balancing(outcome):
    return outcome(InfluenceBalancingExperiment)


def test_the_published_ranges_are_met(balancing):
    assert balancing.unmet_claims() == []


def test_lock_step_within_one_episode_finds_the_optimum_with_every_seed(balancing):
    np.testing.assert_allclose(balancing.params("ESSingle"), -1 / 6, atol=1e-5)
    final = balancing.claims("ESSingle")["final"]
    assert all(final.contains(loss) for loss in balancing.losses_at("ESSingle", 3000))


@pytest.mark.parametrize("label", ["RTRL", "UORO", "NRES", "PES", "PES+Analytic", "ControlledPES"])
def test_unbiased_estimators_find_the_optimum_of_the_episodes(balancing, label):
    """The loss is quadratic, so that PES+Analytic is one of them."""
    params = balancing.params(label)[:, 0]
    error = np.std(params, ddof=1) / np.sqrt(len(params)) if label != "RTRL" else 0
    assert abs(np.mean(params) - EPISODES_OPTIMUM) < 4 * error + 1e-3
    assert np.all(balancing.losses_at(label, 500) < 1)


@pytest.mark.parametrize("label", ["TES", "TBPTT 1"])
def test_windows_of_one_step_diverge_slowly(balancing, label):
    """Published: both to about 200 at update 3000."""
    assert np.all(np.abs(balancing.losses_at(label, 3000) - 200) < 50)


def test_truncated_windows_go_the_wrong_way(balancing):
    assert np.all(balancing.losses_at("TBPTT 10", 3000) > 1e6)
    assert np.all(balancing.params("TBPTT 100") > 0.5)
    assert np.all(balancing.params("TBPTT 200") < 0)


def test_the_variance_is_that_of_the_closed_form(balancing):
    """Points within 5 standard errors of the line, everywhere and for all three estimators."""
    (chart,) = balancing.study.experiment.charts
    series = {(one.label, one.style): one for one in chart.series}
    factor = special.stdtrit(InfluenceBalancingExperiment().seeds - 1, 0.975)
    for label in ("PES", "PES+Analytic", "ESSingle"):
        line, points, band = (series[label, style] for style in ("line", "points", "band"))
        expected = np.interp(points.x, line.x, line.y)
        error = (as_array(band.high) - as_array(band.low)) / 2 / factor
        assert np.all(np.abs(points.y - expected) <= 5 * error)
        assert np.all(error < 0.05 * expected + 1e-9)
