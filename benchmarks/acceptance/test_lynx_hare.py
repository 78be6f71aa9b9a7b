"""Lynx and hares: a fit that exact gradients miss from a poor start."""

import numpy as np

from unspool.experiments import LynxHareExperiment


def test_smoothing_finds_the_known_fit(outcome):
    """The mean of a Bayesian fit, (0.55, 0.028, 0.80, 0.024), has a loss of 0.050."""
    found = outcome(LynxHareExperiment)
    assert np.all(found.finals("NRES") < 0.05)
    rates = np.exp(found.params("NRES")[:, :4])
    np.testing.assert_allclose(np.mean(rates, axis=0), (0.55, 0.028, 0.80, 0.024), rtol=0.1)


def test_exact_gradients_end_in_a_local_minimum(outcome):
    found = outcome(LynxHareExperiment)
    for label in ("BPTT", "RTRL"):
        assert np.all(found.finals(label) > 0.3)
