"""Learned optimizers as Li et al. (2023) meta-train them, on scikit-learn's digits."""

import numpy as np
import pytest

from unspool.experiments import LoptCifar10Experiment, LoptFashionMnistExperiment


@pytest.mark.parametrize("better, worse", [("NRES", "PES"), ("PES", "TES"), ("NRES", "TES")])
def test_the_order_of_the_published_curves(outcome, gap, better, worse):
    found = outcome(LoptFashionMnistExperiment)
    mean, error = gap(found.finals(worse), found.finals(better))
    assert mean > 2 * error


def test_longer_noise_is_better(outcome):
    """Over all periods together, as a slope against the logarithm of the period."""
    found = outcome(LoptFashionMnistExperiment)
    periods = LoptFashionMnistExperiment().periods
    finals = np.array([found.finals(label) for label in periods])
    slopes = np.polyfit(np.log([*periods.values()]), finals, 1)[0]
    assert np.mean(slopes) < -2 * np.std(slopes, ddof=1) / np.sqrt(len(slopes))


def test_noise_reuse_has_less_variance_than_whole_episodes(outcome):
    """At equal compute; published: 23 to 590 times less."""
    found = outcome(LoptFashionMnistExperiment).study.experiment
    (chart,) = [chart for chart in found.charts if chart.title.startswith("NRES and FullES")]
    heights = {s.label: np.array(s.y) for s in chart.series if s.style == "points"}
    assert np.all(heights["FullES"] > 2 * heights["NRES"])


def test_a_network_of_convolutions(outcome, gap):
    found = outcome(LoptCifar10Experiment)
    for better, worse in (("NRES", "TES"), ("MLP PES", "MLP TES")):
        mean, error = gap(found.finals(worse), found.finals(better))
        assert mean > 2 * error
