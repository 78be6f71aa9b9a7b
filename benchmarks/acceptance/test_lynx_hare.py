"""Lynx and hares: a fit that exact gradients miss from a poor start."""

import numpy as np

from unspool.experiments import LynxHareExperiment


def test_smoothing_finds_the_known_fit(outcome):
    """Not only within the Bayesian fit's ranges, but close to its means, and no worse."""
    found = outcome(LynxHareExperiment)
    assert found.unmet_claims() == []
    assert np.all(found.finals("NRES") < 0.05)
    ends = [found.claims("NRES")[f"parameter:{index}"].ends for index in range(4)]
    rates = np.exp(found.params("NRES")[:, :4])
    np.testing.assert_allclose(np.mean(rates, axis=0), np.mean(np.exp(ends), axis=1), rtol=0.1)


def test_exact_gradients_end_in_a_local_minimum(outcome):
    found = outcome(LynxHareExperiment)
    for label in ("BPTT", "RTRL"):
        assert np.all(found.finals(label) > 0.3)
