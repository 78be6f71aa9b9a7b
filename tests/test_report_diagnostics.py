"""Diagnostics of a report, beside a row of its tables and above a study."""

from pathlib import Path

import numpy as np
import pytest

from support.report import (
    EXPERIMENT,
    estimator,
    read_study,
    write_experiment,
    write_json,
    write_run,
)
from unspool._report.diagnostics import diagnose, study_warnings


def diagnostics_of(directory: Path) -> list[str]:
    study, metric, summaries = read_study(directory)
    return diagnose(summaries[study.labels[0]], metric)


def flat(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) * 20 for value in values)


STEADY = flat(50.0, 50.5, 49.5)


def write_seeds(directory: Path, losses=STEADY, **config) -> Path:
    for seed, one in enumerate(losses):
        write_run(directory / f"run-{seed}", list(one), **{"seed": seed, **config})
    return directory


def test_a_sound_row_has_no_diagnostic(tmp_path):
    assert diagnostics_of(write_seeds(tmp_path)) == []


@pytest.mark.parametrize(
    "losses, config, diagnostic",
    [
        (flat(50.0), {}, "only 1 seed, so no interval"),
        (flat(50.0, 50.5), {}, "only 2 seeds"),
        (STEADY, {"seed": 4}, "only 1 seed, so no interval"),
        (flat(50.0, 50.0, 50.0), {}, "the seeds do not differ, so the interval says nothing"),
        (flat(50.0, 90.0, 40.0), {}, "range of the runs wider than half the mean"),
        (flat(50.0, 60.0, 40.0), {}, "interval wider than half the mean"),
        (flat(7, 23, 31, 302, 311), {}, "the runs end in two groups, so the mean is like none"),
        (STEADY, {"dropped": 2}, "workers were dropped in all 3 seeds"),
        (
            STEADY,
            {"status": "stopped", "num_updates": 500},
            "training of seeds 0, 1, 2 stopped, seed 0 at update 190 of 500: out of time",
        ),
        (
            STEADY,
            {"status": None, "num_updates": 500},
            "training of seeds 0, 1, 2 not finished, seed 0 at update 190 of 500",
        ),
        (
            STEADY,
            {"status": "running", "num_updates": 500},
            "training of seeds 0, 1, 2 not finished, seed 0 at update 190 of 500: out of time",
        ),
        (
            (*flat(50.0, 50.5), (50.0,) * 10 + (None,) * 10),
            {},
            "loss not finite in 1 of 3 seeds, first at update 100 of seed 2",
        ),
        (
            (*flat(50.0, 50.5), (50.0,) * 10 + (None,) * 10),
            {},
            "the final metric leaves out 1 of 3 seeds",
        ),
        (
            (tuple(range(100, 60, -2)), tuple(range(101, 61, -2)), tuple(range(102, 62, -2))),
            {},
            "the metric was still falling at the end",
        ),
        ((tuple(range(100, 60, -2)),), {}, "the metric was still falling at the end"),
    ],
)
def test_a_diagnostic_says_why(tmp_path, losses, config, diagnostic):
    losses = [[None if v is None else float(v) for v in one] for one in losses]
    found = diagnostics_of(write_seeds(tmp_path, losses, **config))
    assert any(one.startswith(diagnostic) for one in found), found


def test_scatter_is_not_taken_for_a_fall(tmp_path):
    noise = np.random.default_rng(0).normal(size=(3, 100))
    assert diagnostics_of(write_seeds(tmp_path, (50 + 5 * noise).tolist())) == []


def test_a_seed_that_never_reached_a_threshold_is_named(tmp_path):
    write_experiment(tmp_path)
    write_run(tmp_path / "nres-109", [100.0, 90.0, 79.0, 60.0, 51.0], seed=109)
    _, metric, summaries = read_study(tmp_path)
    assert "1 of 4 seeds never reached 50" in diagnose(summaries["NRES"], metric)
    assert "no seed reached 50" in diagnose(summaries["TES"], metric)


def test_labels_that_cannot_be_compared_are_named(tmp_path):
    write_run(tmp_path / "a")
    tes = estimator("TES", "window gradient")
    problem = {"name": "Other", "options": {}}
    write_run(tmp_path / "b", label="TES", estimator=tes, problem=problem)
    study, _, _ = read_study(tmp_path)
    different, problems = study_warnings(study)
    assert different.startswith(
        "These estimate different gradients: NRES (smoothed gradient); TES (window gradient)."
    )
    assert problems.startswith(
        "These solve different problems: NRES (Lorenz with horizon 2000); TES (Other)."
    )


def test_still_rising_is_not_called_falling(tmp_path):
    losses = [[float(v) for v in range(start, start - 40, -2)] for start in (100, 101, 102)]
    write_json(tmp_path / "experiment.json", {**EXPERIMENT, "metric_factor": -1.0})
    for seed, values in enumerate(losses):
        write_run(tmp_path / f"run-{seed}", values, seed=seed)
    _, metric, labels = read_study(tmp_path)
    assert "the metric was still rising at the end" in diagnose(labels["NRES"], metric)
