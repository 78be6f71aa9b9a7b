"""A learning rate and its decay, as Vicol et al. (2021) tune them, on scikit-learn's digits."""

import numpy as np
import pytest

from unspool.experiments import ScheduleAccuracyExperiment, ScheduleTrainLossExperiment
from unspool.records.files import as_array

EXPERIMENTS = [ScheduleTrainLossExperiment, ScheduleAccuracyExperiment]


@pytest.mark.parametrize("make", EXPERIMENTS)
def test_truncation_ends_at_a_larger_decay(outcome, gap, make):
    """Published for training loss: decays of 0.03 to 0.2 for PES, and of 8 to 10 for TES."""
    found = outcome(make)
    for label in ("NRES 10", "PES 10"):
        mean, error = gap(found.params("TES 10")[:, 0], found.params(label)[:, 0])
        assert mean > 4 * error


@pytest.mark.parametrize("make", EXPERIMENTS)
@pytest.mark.parametrize("label", ["NRES 10", "PES 10"])
def test_the_good_region_is_reached(outcome, make, label):
    """The best tenth of the surface, within four standard errors over seeds."""
    found = outcome(make)
    good = np.nanpercentile(as_array(found.study.experiment.surface.loss), 10)
    finals, start = found.finals(label), found.losses_at(label, 0)
    error = np.std(finals, ddof=1) / np.sqrt(len(finals))
    assert np.mean(finals) - 4 * error < good < np.min(start) - 4 * error
