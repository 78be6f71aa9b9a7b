"""Control as Li et al. (2023) have it: a linear policy in MuJoCo, return against steps in a row."""

import numpy as np

from unspool.experiments import HalfCheetahExperiment, HopperExperiment, SwimmerExperiment


def first_steps(found, label):
    """The sequential steps after which each seed first reaches the first threshold."""
    threshold = found.study.experiment.thresholds[0]
    return found.first(label, threshold, "sequential_steps")


def test_the_published_ranges_are_met(outcome):
    """But for that of TES, on which some seeds of its published learning rate are lucky."""
    unmet = outcome(SwimmerExperiment).unmet_claims()
    assert [each for each in unmet if not each.startswith("TES")] == []


def test_swimmer_learns_to_swim(outcome):
    """Nearly every seed within 4,000 sequential steps, and every one in the end."""
    found = outcome(SwimmerExperiment)
    assert np.sum(first_steps(found, "NRES") <= 4000) >= 4
    assert np.all(found.finals("NRES") > found.claims("NRES")["final"].low)


def test_swimmer_is_not_learned_from_windows_alone(outcome):
    """A seed now and then lands in a gait with its first large steps, and hovers there: so the
    most of them, and the mean.
    """
    found = outcome(SwimmerExperiment)
    finals = found.finals("TES")
    assert np.sum(finals < found.claims("TES")["final"].high) > len(finals) / 2
    assert np.mean(finals) < np.mean(found.finals("NRES")) - 100
    assert np.all(finals < found.claims("NRES")["final"].low)


def test_noise_reuse_is_first(outcome):
    """Published: PES takes 4.3 times as many sequential steps, FullES 10.4 times."""
    found = outcome(SwimmerExperiment)
    reuse = np.mean(first_steps(found, "NRES"))
    for label in ("PES", "FullES"):
        assert np.all(np.isfinite(first_steps(found, label)))
        assert np.mean(first_steps(found, label)) > 1.5 * reuse


def test_half_cheetah_runs(outcome):
    """Not as published: there all seeds share one start, here each draws its own."""
    found = outcome(HalfCheetahExperiment)
    assert np.any(np.isfinite(first_steps(found, "NRES")))


def test_hopper_stays_upright(outcome):
    """Standing is worth 1000; without training it falls after some 20 steps."""
    found = outcome(HopperExperiment)
    assert np.all(np.isfinite(first_steps(found, "NRES")))
