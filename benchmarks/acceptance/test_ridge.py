"""An L2 penalty whose best value is known: Vicol et al. (2021), on the diabetes data."""

import numpy as np
import pytest

from unspool.experiments import RidgeExperiment


@pytest.fixture
def ends(outcome):
    found = outcome(RidgeExperiment)
    return lambda label: found.params(label)[:, 0]


def test_the_published_ranges_are_met(outcome):
    assert outcome(RidgeExperiment).unmet_claims() == []


@pytest.fixture(scope="module")
def optima():
    """The best penalty for the finite run, and for an endless one."""
    experiment = RidgeExperiment()
    return experiment.ridge.optimum(experiment.horizon), experiment.ridge.optimum(None)


@pytest.mark.parametrize("label", ["RTRL", "NRES", "ESSingle"])
def test_long_memories_find_the_optimum(ends, optima, label):
    """Published: within 0.02 in a run without end; here a run's start moves it by 0.16."""
    error = np.std(ends(label), ddof=1) / np.sqrt(len(ends(label)))
    assert min(optima) - 0.05 - 4 * error < np.mean(ends(label)) < max(optima) + 0.05 + 4 * error
    assert np.all(np.abs(ends(label) - np.mean(optima)) < 0.3)


def test_pes_is_there_and_noisy(ends, optima):
    """Published: 1.17 to 1.75 where the optimum is 1.333."""
    error = np.std(ends("PES"), ddof=1) / np.sqrt(len(ends("PES")))
    assert abs(np.mean(ends("PES")) - np.mean(optima)) < 4 * error + 0.1
    assert np.std(ends("PES")) > 2 * np.std(ends("NRES"))


def test_one_step_at_a_time_drifts_off(ends, optima):
    """Published: to -12 to -17 from every start."""
    assert np.all(ends("TES") < min(optima) - 1)
    assert np.mean(ends("TES")) < -3
