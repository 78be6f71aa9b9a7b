"""Toy regression: medians of a replication of Vicol et al. (2021), over the last thousand of
20000 updates, divided by the 100 steps of an episode."""

import numpy as np
import pytest

from unspool.experiments import ToyRegressionExperiment


@pytest.fixture
def toy(outcome):
    return outcome(ToyRegressionExperiment)


@pytest.mark.parametrize("label", ["PES", "NRES"])
def test_smoothing_finds_the_good_region(toy, label):
    """Published: 5.65; rounding moves losses there by about 2 %."""
    np.testing.assert_allclose(toy.finals(label), 5.65, rtol=0.02)
    assert np.all(toy.first(label, 6) <= 1000)


def test_truncated_es_is_biased(toy):
    """Published: about 15.1 near (1.3, 0.7)."""
    np.testing.assert_allclose(np.mean(toy.finals("TES")), 15.1, atol=0.5)
    np.testing.assert_allclose(np.mean(toy.params("TES"), axis=0), (1.3, 0.7), atol=0.2)


@pytest.mark.parametrize("label", ["TBPTT", "RTRL", "UORO"])
def test_exact_gradients_get_stuck(toy, label):
    """Published: 24.232 near (0.14, -0.8); the first parameter, since the loss hardly knows the
    second. UORO is noisy, so that its mean over seeds is compared."""
    np.testing.assert_allclose(toy.finals(label), 24.232, atol=0.005)
    log_rates = toy.params(label)[:, 0]
    error = np.std(log_rates, ddof=1) / np.sqrt(len(log_rates))
    assert abs(np.mean(log_rates) - 0.14) < 4 * error + 0.005


@pytest.mark.parametrize("label", ["PES+Analytic", "ControlledPES"])
def test_a_rough_gradient_of_the_window_is_no_help(toy, label):
    """Nothing is published. Where PES has long arrived, by seeds, they are far behind."""
    behind = toy.losses_at(label, 2000) - toy.losses_at("PES", 2000)
    error = np.std(behind, ddof=1) / np.sqrt(len(behind))
    assert np.mean(behind) > 4 * error
