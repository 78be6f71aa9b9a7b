"""Control as Li et al. (2023) have it: a linear policy in MuJoCo, return against steps in a row."""

import numpy as np

from unspool.experiments import HalfCheetahExperiment, HopperExperiment, SwimmerExperiment


def first_steps(outcome, label, threshold):
    """The sequential steps after which each seed first reaches a return; NaN if never."""
    (time,) = [r for r in outcome.labels[label].times_to_target if r.threshold == threshold]
    return time.positions["sequential_steps"]


def test_swimmer_learns_to_swim(outcome):
    """Published: the mean of five seeds passes 325 after 2,400 sequential steps."""
    found = outcome(SwimmerExperiment)
    assert np.sum(first_steps(found, "NRES", 325.0) <= 4000) >= 4
    assert np.all(found.finals("NRES") > 325)


def test_swimmer_is_not_learned_from_windows_alone(outcome):
    """Published: the mean of five seeds is 59 at best.

    Here a seed now and then lands in a gait with its first large steps, and hovers there: so the
    most of them, and the mean.
    """
    found = outcome(SwimmerExperiment)
    finals = found.finals("TES")
    assert np.sum(finals < 100) > len(finals) / 2
    assert np.mean(finals) < np.mean(found.finals("NRES")) - 100
    assert np.all(finals < 325)


def test_noise_reuse_is_first(outcome):
    """Published: PES takes 4.3 times as many sequential steps, FullES 10.4 times."""
    found = outcome(SwimmerExperiment)
    reuse = np.mean(first_steps(found, "NRES", 325.0))
    for label in ("PES", "FullES"):
        assert np.all(np.isfinite(first_steps(found, label, 325.0)))
        assert np.mean(first_steps(found, label, 325.0)) > 1.5 * reuse


def test_half_cheetah_runs(outcome):
    """Published: 3430 after 10,200 sequential steps, from one start that all seeds share."""
    found = outcome(HalfCheetahExperiment)
    assert np.any(np.isfinite(first_steps(found, "NRES", 3430.0)))


def test_hopper_stays_upright(outcome):
    """Standing is worth 1000; without training it falls after some 20 steps."""
    found = outcome(HopperExperiment)
    assert np.all(np.isfinite(first_steps(found, "NRES", 900.0)))
