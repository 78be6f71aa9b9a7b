"""What a report computes, against numbers worked out by hand from files written here."""

import math
from dataclasses import replace

import numpy as np
import pytest

from support.report import (
    EXPERIMENT,
    LOSSES,
    entry,
    read_study,
    render,
    write_experiment,
    write_json,
    write_lines,
    write_run,
)
from unspool._report.compare import compare
from unspool._report.limits import value_limits
from unspool._statistics.curves import Curve, mean_curve
from unspool._statistics.intervals import (
    Interval,
    format_interval,
    format_mean,
    format_number,
    t_interval,
)
from unspool._statistics.summarize import (
    final_value,
    metric_curve,
    metric_series,
    time_to_target,
)

# Numbers


def test_interval_is_the_one_of_the_t_distribution():
    interval = t_interval(np.array([1.0, 2.0, math.nan, 3.0, 4.0]))
    # s = sqrt(5 / 3), s / sqrt(4) = 0.6454972, t(0.975, 3) = 3.1824463.
    assert interval.mean == 2.5
    assert interval.count == 4
    assert interval.standard_error == pytest.approx(0.6454972, abs=1e-7)
    assert interval.low == pytest.approx(2.5 - 2.0542603, abs=1e-6)
    assert interval.high == pytest.approx(2.5 + 2.0542603, abs=1e-6)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert not t_interval(np.array([3.0])).known
    assert t_interval(np.array([3.0])).mean == 3.0
    assert t_interval(np.array([math.nan])).count == 0
    assert format_mean(t_interval(np.array([]))) == "–"


@pytest.mark.parametrize(
    "interval, mean, ends",
    [
        (Interval(47.7345, 47.1, 48.37, 0.23, 5), "47.7", "47.1 to 48.4"),
        (Interval(47.7345, 47.32, 48.15, 0.15, 5), "47.73", "47.32 to 48.15"),
        (Interval(788.0, 663.0, 913.0, 45.0, 5), "790", "660 to 910"),
        (Interval(347_123.0, 299_000.0, 395_000.0, 17_000.0, 5), "347 000", "299 000 to 395 000"),
        (Interval(31_234_567.0, 30.1e6, 32.4e6, 4e5, 5), "31.2 million", "30.1 to 32.4 million"),
        (Interval(1.23e-13, -3e-14, 2.8e-13, 6e-14, 3), "1.2 × 10⁻¹³", "−0.3 to 2.8 × 10⁻¹³"),
        (Interval(0.5, 0.5, 0.5, 1e-17, 3), "0.500000", "0.500000 to 0.500000"),
        (Interval(-2.3456, math.nan, math.nan, math.nan, 1), "−2.35", ""),
        (Interval(700.0, 700.0, 700.0, 0.0, 3), "700", "700 to 700"),
    ],
)
def test_numbers_have_the_digits_their_standard_error_allows(interval, mean, ends):
    assert format_mean(interval).replace("\u202f", " ") == mean
    assert format_interval(interval).replace("\u202f", " ") == ends


def test_given_numbers_are_printed_whole():
    words = [format_number(value) for value in (52.0, 0.001, 1e-5, -2.5e8, 10_000.0, math.inf)]
    expected = ["52", "0.001", "1 × 10⁻⁵", "−2.5 × 10⁸", "10 000", "no limit"]
    assert [word.replace("\u202f", " ") for word in words] == expected


# Statistics of runs


def test_the_time_to_a_target_is_the_first_and_not_the_lowest(tmp_path):
    study, metric, _ = read_study(write_run(tmp_path / "run"))
    time = time_to_target(study.runs, metric, 50.0)
    found = {axis: float(positions[0]) for axis, positions in time.positions.items()}
    # Update 20: 20 x 1000 steps and 500 of warm-up, 7 + 20 x 10 in a row, one second.
    assert found == {"update": 20.0, "steps": 20_500.0, "sequential_steps": 207.0, "seconds": 1.0}
    assert time_to_target(study.runs, metric, 40.0).positions["update"] == 40.0
    assert time_to_target(study.runs, metric, 39.9).num_reached == 0


def test_a_time_may_be_that_of_getting_there_for_good(tmp_path):
    run = write_run(tmp_path / "run")
    losses = {0: 60.0, 10: 45.0, 20: 55.0, 30: 50.0, 40: 40.0}
    lines = [{"update": u, "loss": x, "standard_error": None} for u, x in losses.items()]
    write_lines(run / "evaluation.jsonl", lines)
    study, metric, _ = read_study(run)
    update = lambda metric, x: time_to_target(study.runs, metric, x).positions["update"].item()
    stays = replace(metric, stays=True)
    assert (update(metric, 50.0), update(stays, 50.0), update(stays, 40.0)) == (10, 30, 40)
    assert update(stays, 60.0) == 0 and math.isnan(update(stays, 39.0))
    assert stays.reaching == "for good at or below"


def test_an_evaluation_between_records_is_placed_between_their_costs(tmp_path):
    run = write_run(tmp_path / "run")
    lines = [
        {"update": 15, "loss": 30.0, "standard_error": None},
        {"update": 90, "loss": 1.0, "standard_error": None},
    ]
    write_lines(run / "evaluation.jsonl", lines)
    study, metric, _ = read_study(run)
    series = metric_series(study.runs[0], metric)
    assert series is not None
    # The records end at update 40, so nothing is known of what update 90 cost.
    np.testing.assert_array_equal(series.value, [30.0])
    np.testing.assert_array_equal(series.positions["steps"], [15_500.0])


def test_final_value_is_the_mean_of_the_last_fifth(tmp_path):
    study, metric, _ = read_study(write_run(tmp_path / "run", [9.0] * 8 + [3.0, 4.0]))
    series = metric_series(study.runs[0], metric)
    assert series is not None and final_value(series.value) == 3.5


def test_unequal_runs_are_averaged_on_their_common_range():
    first = np.array([0.0, 10.0, 20.0, 40.0])
    second = np.array([0.0, 5.0, 20.0])
    curve = mean_curve("a", [(first, 10 - first / 10), (second, 20 - second / 10)])
    assert curve is not None
    np.testing.assert_array_equal(curve.x, [0.0, 5.0, 10.0, 20.0])
    np.testing.assert_allclose(curve.mean, 15 - curve.x / 10)
    # s = 10 / sqrt(2), s / sqrt(2) = 5, t(0.975, 1) = 12.7062047.
    np.testing.assert_allclose(curve.high - curve.mean, 5 * 12.7062047, rtol=1e-7)
    assert mean_curve("a", [(first, first), (first + 50, first)]) is None


def test_on_a_log_scale_the_mean_is_geometric_and_zero_has_no_place(tmp_path):
    write_json(tmp_path / "experiment.json", {**EXPERIMENT, "metric_scale": "log"})
    write_run(tmp_path / "a", [1.0, 1.0, 0.0, 1.0, 1.0], seed=1)
    write_run(tmp_path / "b", [100.0, 100.0, 100.0, 100.0, 0.25], seed=2)
    _, metric, summaries = read_study(tmp_path)
    assert (metric.scale, metric.floor, metric.is_positive) == ("log", 0.25, False)
    curve = metric_curve(summaries["NRES"], metric, "update")
    assert curve is not None
    np.testing.assert_allclose(curve.mean, [10.0, 10.0, np.nan, 10.0, 0.5])


def test_a_curve_stops_where_a_seed_is_no_longer_finite(tmp_path):
    write_run(tmp_path / "a", [5.0, 4.0, 3.0, None, 1.0], seed=1)
    write_run(tmp_path / "b", seed=2)
    _, metric, summaries = read_study(tmp_path)
    curve = metric_curve(summaries["NRES"], metric, "update")
    assert curve is not None and curve.x[-1] == 20.0


def test_long_curves_are_thinned():
    x = np.arange(5001.0)
    curve = mean_curve("a", [(x, x)])
    assert curve is not None and 300 < len(curve.x) <= 400
    assert curve.x[:3].tolist() == [0, 1, 2] and curve.x[-1] == 5000
    np.testing.assert_allclose(curve.mean, curve.x)


def test_evaluation_is_reported_only_if_every_label_has_some(tmp_path):
    write_run(tmp_path / "a")
    other = write_run(tmp_path / "b", label="PES")
    (other / "evaluation.jsonl").unlink()
    _, metric, summaries = read_study(tmp_path)
    assert (metric.source, metric.name) == ("training", "training loss")
    # The training losses are twice the others; that of update 0 does not exist.
    np.testing.assert_array_equal(summaries["PES"].series[0].value, [140.0, 98.0, 110.0, 80.0])
    page = render([tmp_path], tmp_path / "page.html")
    assert "Not every label has been evaluated" in "".join(page.text)


def test_a_metric_can_be_better_the_more_it_is(tmp_path):
    """Losses times a negative factor: thresholds and cuts lie on the other side."""
    changes = {"metric": "return", "metric_scale": "linear", "metric_factor": -10.0}
    claims = [entry(statistic="final", low=-600, high=-450)]
    changes |= {"thresholds": [-500], "claims": claims}
    study, metric, labels = read_study(write_experiment(tmp_path / "lorenz", **changes))
    np.testing.assert_array_equal(labels["NRES"].series[0].value, [-10.0 * x for x in LOSSES])
    (time,) = labels["NRES"].times_to_target
    np.testing.assert_array_equal(time.positions["update"], [20, 20, 20])
    assert time_to_target(study.runs, metric, -390.0).num_reached == 1
    (comparison,) = compare(study.experiment, tuple(labels.values()), metric, ("a", "b"))
    assert comparison.verdict == "outside"
    text = "".join(render([tmp_path / "lorenz"], tmp_path / "page.html").text)
    assert "return at or above" in text and "at or below" not in text
    values = np.array([0.0, 1.0, -99.0])
    curve = Curve("a", np.arange(3.0), values, values, values, 1)
    low, high, cut = value_limits([curve], "linear", higher_is_better=True)
    assert cut and -10 < low < 0 and 1 < high < 2
    # What rises is drawn as what falls, upside down, its band included.
    rising = Curve("a", np.arange(3.0), values, values - 0.5, values + 3.0, 1)
    falling = Curve("a", np.arange(3.0), -values, -values - 3.0, -values + 0.5, 1)
    low, high, cut = value_limits([falling], "linear")
    assert value_limits([rising], "linear", higher_is_better=True) == (-high, -low, cut)


# Expected against measured


def test_verdicts(tmp_path):
    write_experiment(
        tmp_path,
        expected=[
            {"label": "NRES", "threshold": 50, "low": 15, "high": 25, "note": "updates"},
            {"label": "NRES", "threshold": 80, "low": 15, "high": 25},
            {"label": "TES", "threshold": 50, "low": 0, "high": 1000},
            {"label": "UORO", "threshold": 50, "low": None, "high": 1000},
        ],
        claims=[
            {"text": "b", "label": "NRES", "statistic": "final", "low": 39.5, "high": 40.5},
            {"text": "c", "label": "TES", "statistic": "final", "low": 39.5, "high": 40.5},
            {"text": "d", "label": "NRES", "statistic": "parameter:0", "low": 2.6, "high": 2.6},
            {"text": "e", "label": "NRES", "statistic": "first:48.5", "low": 0, "high": 1000},
        ],
    )
    study, metric, summaries = read_study(tmp_path)
    assert study.experiment is not None
    names = ("log a", "log r")
    found = compare(study.experiment, tuple(summaries.values()), metric, names)
    # Seeds 101, 103, 107 have 49, 50, 48 at update 20, and 40, 41, 39 at update 40.
    assert [(one.statistic, one.measured, one.verdict) for one in found] == [
        ("first update at or below 50", "20 (20 to 20), all 3 seeds", "inside"),
        ("first update at or below 80", "10 (10 to 10), all 3 seeds", "outside"),
        ("first update at or below 50", "–", "no seed reached it"),
        ("first update at or below 50", "–", "not run"),
        ("final generalization loss", "40.0 (37.5 to 42.5)", "inside"),
        ("final generalization loss", "75.0 (72.5 to 77.5)", "outside"),
        ("final log a", "2.60 (2.60 to 2.60)", "inside"),
        ("first update at or below 48.5", "33 (5 to 62), all 3 seeds", "inside"),
    ]
    assert found[3].expected == "at most 1000"


def test_a_time_to_a_target_is_not_inside_if_one_seed_never_got_there(tmp_path):
    expected = [{"label": "NRES", "threshold": 39.5, "low": 0, "high": 1000}]
    study, metric, summaries = read_study(write_experiment(tmp_path, expected=expected))
    assert study.experiment is not None
    (found,) = compare(study.experiment, tuple(summaries.values()), metric, ())
    assert (found.measured, found.verdict) == ("40, 1 of 3 seeds", "outside")
