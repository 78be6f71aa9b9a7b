"""The report: what it reads, what it computes, what it writes, and what a browser makes of it.

Every number is checked against one worked out by hand from files that the test itself writes.
"""

import base64
import copy
import html.parser
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from unspool.report import ReportError, write_report
from unspool.report.cautions import cautions, study_warnings
from unspool.report.compare import compare
from unspool.report.figures import value_limits
from unspool.report.intervals import Interval, interval_words, mean_words, number_words, t_interval
from unspool.report.labels import spread
from unspool.report.read import read_run, read_studies
from unspool.report.summarise import (
    Curve,
    choose_metric,
    final_value,
    first_reach,
    mean_curve,
    metric_curve,
    metric_series,
    summarise,
)

CONFIG = {
    "format": 1,
    "unspool": "0.1.0",
    "experiment": None,
    "problem": {"name": "Lorenz", "options": {"horizon": 2000}},
    "estimator": {"name": "NRES", "options": {"window": 100}, "estimand": "smoothed gradient"},
    "optimizer": {"name": "sgd", "options": {"learning_rate": 1e-5}},
    "label": "NRES",
    "seed": 101,
    "num_updates": 40,
    "num_params": 2,
    "parameter_names": ["log_a", "log_r"],
    "environment": {"python": "3.11", "device": "cpu", "cpus": 2},
}

EXPERIMENT = {
    "format": 1,
    "name": "lorenz",
    "title": "Lorenz",
    "source": "Li et al. 2023",
    "metric": "generalisation loss",
    "metric_scale": "log",
    "thresholds": [80, 50],
    "parameter_names": ["log a", "log r"],
    "surface": {
        "x": [2.0, 3.0, 4.0],
        "y": [3.0, 4.0],
        "loss": [[50.0, 60.0, 90.0], [100.0, 200.0, 300.0]],
        "label": "smoothed loss",
        "scale": "log",
        "x_index": 0,
        "y_index": 1,
    },
    "markers": [{"label": "true parameters", "point": [2.303, 3.332]}],
    "charts": [
        {
            "title": "Hare",
            "x_label": "year",
            "y_label": "thousand pelts",
            "series": [
                {"label": "data", "x": [1, 2, 3], "y": [5, 7, 6], "style": "points"},
                {"label": "fit", "x": [1, 2, 3], "y": [5, 6.5, 6], "style": "line"},
                {"label": "spread", "x": [1, 2], "low": [4, 5], "high": [6, 8], "style": "band"},
            ],
        }
    ],
}

LOSSES = [100.0, 70.0, 49.0, 55.0, 40.0]


def write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def write_lines(path: Path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_run(directory: Path, losses=LOSSES, *, status="finished", dropped=0, **config) -> Path:
    """A run with an evaluation every 10 updates, each update of 1000 steps, 10 of them in a row."""
    values = {**copy.deepcopy(CONFIG), "num_updates": 10 * (len(losses) - 1), **config}
    write_json(directory / "config.json", values)
    updates = range(0, 10 * len(losses), 10)
    records = [
        {
            "update": update,
            "seconds": update / 20,
            "steps": update * 1000,
            "warmup_steps": 500,
            "sequential_steps": 7 + update * 10,
            "loss": None if update == 0 else 2 * loss if loss is not None else None,
            "grad_norm": 1.0,
            "result": "successful",
            "dropped": dropped if update == 20 else 0,
            "params": [3.0 - update / 100, 3.5],
        }
        for update, loss in zip(updates, losses, strict=True)
    ]
    evaluations = [
        {"update": update, "loss": loss, "standard_error": 0.5}
        for update, loss in zip(updates, losses, strict=True)
    ]
    write_lines(directory / "metrics.jsonl", records)
    write_lines(directory / "evaluation.jsonl", evaluations)
    if status:
        message = "" if status == "finished" else "out of time"
        write_json(directory / "status.json", {"status": status, "message": message})
    return directory


def estimator(name: str, estimand: str) -> dict:
    return {"name": name, "options": {}, "estimand": estimand}


def write_experiment(directory: Path, **changes) -> Path:
    """An experiment of NRES with three seeds and TES, which never reaches 50, with three."""
    write_json(directory / "experiment.json", {**copy.deepcopy(EXPERIMENT), **changes})
    for seed, shift in ((101, 0.0), (103, 1.0), (107, -1.0)):
        losses = [loss + shift for loss in LOSSES]
        write_run(directory / f"nres-{seed}", losses, seed=seed)
        write_run(
            directory / f"tes-{seed}",
            [100.0, 90.0 + shift, 79.0, 75.0, 75.0 + shift],
            seed=seed,
            label="TES",
            estimator=estimator("TES", "smoothed window gradient"),
        )
    return directory


def read_study(directory: Path):
    (study,) = read_studies([directory])
    metric = choose_metric(study)
    return study, metric, {one.label: one for one in summarise(study, metric)}


class Page(html.parser.HTMLParser):
    """The text of every table row and every identifier of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.ids: list[str | None] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self._cell = True
            self.rows[-1].append("")
        elif tag in {"li", "span", "br"} and self._cell and self.rows[-1][-1]:
            self.rows[-1][-1] = self.rows[-1][-1].rstrip(" |") + " | "

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self._cell = False

    def handle_data(self, data):
        self.text.append(data)
        if self._cell:
            self.rows[-1][-1] += data


def render(directories: list[Path], output: Path) -> Page:
    return Page(write_report(directories, output).read_text(encoding="utf-8"))


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
    assert mean_words(t_interval(np.array([]))) == "–"


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
    assert mean_words(interval).replace("\u202f", " ") == mean
    assert interval_words(interval).replace("\u202f", " ") == ends


def test_given_numbers_are_printed_whole():
    words = [number_words(value) for value in (52.0, 0.001, 1e-5, -2.5e8, 10_000.0, math.inf)]
    expected = ["52", "0.001", "1 × 10⁻⁵", "−2.5 × 10⁸", "10 000", "no limit"]
    assert [word.replace("\u202f", " ") for word in words] == expected


# Statistics of runs


def test_first_reach_is_the_first_and_not_the_lowest(tmp_path):
    study, metric, _ = read_study(write_run(tmp_path / "run"))
    reach = first_reach(study.runs, metric, 50.0)
    found = {axis: float(positions[0]) for axis, positions in reach.positions.items()}
    # Update 20: 20 x 1000 steps and 500 of warm-up, 7 + 20 x 10 in a row, one second.
    assert found == {"update": 20.0, "steps": 20_500.0, "sequential_steps": 207.0, "seconds": 1.0}
    assert first_reach(study.runs, metric, 40.0).positions["update"] == 40.0
    assert first_reach(study.runs, metric, 39.9).num_reached == 0


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
    assert series is not None and final_value(series) == 3.5


def test_unequal_runs_are_averaged_on_their_common_range():
    first = np.array([0.0, 10.0, 20.0, 40.0])
    second = np.array([0.0, 5.0, 20.0])
    curve = mean_curve("a", [(first, 10 - first / 10), (second, 20 - second / 10)])
    assert curve is not None
    np.testing.assert_allclose(curve.x, np.linspace(0.0, 20.0, 4))
    np.testing.assert_allclose(curve.mean, 15 - curve.x / 10)
    # s = 10 / sqrt(2), s / sqrt(2) = 5, t(0.975, 1) = 12.7062047.
    np.testing.assert_allclose(curve.high - curve.mean, 5 * 12.7062047, rtol=1e-7)
    assert mean_curve("a", [(first, first), (first + 50, first)]) is None


def test_on_a_log_scale_the_mean_is_geometric_and_zero_is_drawn_at_the_floor(tmp_path):
    write_run(tmp_path / "a", [1.0, 1.0, 0.0, 1.0, 1.0], seed=1)
    write_run(tmp_path / "b", [100.0, 100.0, 100.0, 100.0, 0.25], seed=2)
    _, metric, summaries = read_study(tmp_path)
    assert (metric.scale, metric.floor, metric.clipped) == ("log", 0.25, True)
    curve = metric_curve(summaries["NRES"], metric, "update")
    assert curve is not None
    np.testing.assert_allclose(curve.mean, [10.0, 10.0, 5.0, 10.0, 0.5])


def test_a_curve_stops_where_a_seed_is_no_longer_finite(tmp_path):
    write_run(tmp_path / "a", [5.0, 4.0, 3.0, None, 1.0], seed=1)
    write_run(tmp_path / "b", seed=2)
    _, metric, summaries = read_study(tmp_path)
    curve = metric_curve(summaries["NRES"], metric, "update")
    assert curve is not None and curve.x[-1] == 20.0


def test_long_curves_are_thinned():
    x = np.arange(5001.0)
    curve = mean_curve("a", [(x, x)])
    assert curve is not None and len(curve.x) == 400
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


def test_label_heights_keep_their_order_and_distance():
    heights = spread([0.5, 0.51, 0.0, 0.99, 0.5], 0.1)
    assert np.argsort(heights, kind="stable").tolist() == [2, 0, 4, 1, 3]
    assert np.all(np.diff(np.sort(heights)) >= 0.1 - 1e-3)
    assert spread([], 0.1) == [] and spread([0.3], 0.1) == [0.3]


# Cautions


def words_about(directory: Path) -> list[str]:
    study, metric, summaries = read_study(directory)
    return cautions(summaries[study.labels[0]], metric)


def flat(*values: float) -> tuple[tuple[float, ...], ...]:
    return tuple((value,) * 20 for value in values)


STEADY = flat(50.0, 50.5, 49.5)


def write_seeds(directory: Path, losses=STEADY, **config) -> Path:
    for seed, one in enumerate(losses):
        write_run(directory / f"run-{seed}", list(one), **{"seed": seed, **config})
    return directory


def test_a_sound_row_has_no_caution(tmp_path):
    assert words_about(write_seeds(tmp_path)) == []


@pytest.mark.parametrize(
    "losses, config, caution",
    [
        (flat(50.0), {}, "only 1 seed, so no interval"),
        (flat(50.0, 50.5), {}, "only 2 seeds"),
        (STEADY, {"seed": 4}, "seed 4 is there more than once and counts as often"),
        (flat(50.0, 50.0, 50.0), {}, "the seeds do not differ, so the interval says nothing"),
        (flat(50.0, 90.0, 20.0), {}, "interval wider than half the mean"),
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
def test_a_caution_says_why(tmp_path, losses, config, caution):
    losses = [[None if v is None else float(v) for v in one] for one in losses]
    assert caution in words_about(write_seeds(tmp_path, losses, **config))


def test_scatter_is_not_taken_for_a_fall(tmp_path):
    noise = np.random.default_rng(0).normal(size=(3, 100))
    assert words_about(write_seeds(tmp_path, (50 + 5 * noise).tolist())) == []


def test_a_seed_that_never_reached_a_threshold_is_named(tmp_path):
    write_experiment(tmp_path)
    write_run(tmp_path / "nres-109", [100.0, 90.0, 79.0, 60.0, 51.0], seed=109)
    _, metric, summaries = read_study(tmp_path)
    assert "1 of 4 seeds never reached 50" in cautions(summaries["NRES"], metric)
    assert "no seed reached 50" in cautions(summaries["TES"], metric)


def test_unlike_runs_under_one_label_are_named(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", optimizer={"name": "sgd", "options": {"learning_rate": 0.1}})
    assert "runs of this label differ in optimizer learning_rate" in words_about(tmp_path)


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
        ("final generalisation loss", "40.0 (37.5 to 42.5)", "inside"),
        ("final generalisation loss", "75.0 (72.5 to 77.5)", "outside"),
        ("final log a", "2.60 (2.60 to 2.60)", "inside"),
        ("first update at or below 48.5", "33 (5 to 62), all 3 seeds", "inside"),
    ]
    assert found[3].expected == "at most 1000"


def test_a_reach_is_not_inside_if_one_seed_never_got_there(tmp_path):
    expected = [{"label": "NRES", "threshold": 39.5, "low": 0, "high": 1000}]
    study, metric, summaries = read_study(write_experiment(tmp_path, expected=expected))
    assert study.experiment is not None
    (found,) = compare(study.experiment, tuple(summaries.values()), metric, ())
    assert (found.measured, found.verdict) == ("40, 1 of 3 seeds", "outside")


# Reading


def test_a_resumed_run_counts_the_later_records_and_a_cut_line_is_left_out(tmp_path):
    run = write_run(tmp_path / "run")
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    again = {**lines[3], "loss": 1.0}
    write_lines(path, [*lines, again])
    path.write_text(path.read_text() + '{"update": 40, "lo')
    records = read_run(run).records
    np.testing.assert_array_equal(records.update, [0.0, 10.0, 20.0, 30.0])
    assert records.loss[-1] == 1.0


def edited(path: Path, **changes) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(values))


def surface(**changes) -> dict:
    return {"surface": {**EXPERIMENT["surface"], **changes}}


def entry(**values) -> dict:
    return {"label": "NRES", "text": "", **values}


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("nres-101/config.json", {"format": 2}, "'format' is 2, but must be 1"),
        ("nres-101/config.json", {"seed": "a"}, "'seed' is \"a\", but must be a whole number"),
        ("nres-101/config.json", {"problem": 3}, "'problem' is 3, but must be a JSON object"),
        ("nres-101/config.json", {"num_params": 3}, "list of 3 numbers, as 'num_params' says"),
        ("nres-101/status.json", {"status": "odd"}, '"finished", "stopped", "failed"'),
        ("experiment.json", {"metric_scale": "cube"}, 'must be one of "log", "linear"'),
        ("experiment.json", {"thresholds": [1, None]}, "must be a list of finite numbers"),
        ("experiment.json", surface(loss=[[1, 2, 3]]), "must be 2 rows of 3 numbers"),
        ("experiment.json", surface(x=[3, 2, 1]), "at least two increasing numbers"),
        ("experiment.json", surface(x_index=2), "must name parameters from 0 to 1"),
        ("experiment.json", {"markers": [{"label": "a", "point": [1]}]}, "at least 2, one for"),
        ("experiment.json", {"expected": [entry()]}, "entry 1: 'threshold' is missing"),
        ("experiment.json", {"claims": [entry(statistic="best")]}, '"final", "parameter:INDEX"'),
        ("experiment.json", {"metric_factor": 0}, "must be a finite number other than 0"),
        ("experiment.json", {"pictures": [{"title": "a", "file": "b.png"}]}, "must be a PNG file"),
        (
            "experiment.json",
            {"claims": [entry(statistic="final", low=2, high=1)]},
            "'low' is 2, but must be at most 'high', which is 1",
        ),
        (
            "experiment.json",
            {"claims": [entry(statistic="parameter:7", low=0, high=1)]},
            "has 2 parameters, numbered from 0",
        ),
        (
            "experiment.json",
            {"charts": [{"title": "a", "series": [{"label": "b", "x": [1, 2], "y": [1]}]}]},
            "'y' has 1 numbers, but must have as many as 'x', which has 2",
        ),
        (
            "experiment.json",
            {"charts": [{"title": "a", "x_scale": "cube", "series": []}]},
            '\'x_scale\' is "cube", but must be one of "log", "linear"',
        ),
    ],
)
def test_a_malformed_value_is_named(tmp_path, name, changes, message):
    write_experiment(tmp_path / "lorenz")
    edited(tmp_path / "lorenz" / name, **changes)
    with pytest.raises(ReportError, match=re.escape(message)) as caught:
        write_report([tmp_path / "lorenz"], tmp_path / "page.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("config.json", "{", "config.json is not valid JSON"),
        ("config.json", "[]", "config.json holds [], but must hold a JSON object"),
        ("metrics.jsonl", None, "metrics.jsonl is missing"),
        ("metrics.jsonl", "", "metrics.jsonl is empty"),
        ("metrics.jsonl", "{\n{}\n", "metrics.jsonl, line 1 is not valid JSON"),
        ("metrics.jsonl", '{"update": 0, "seconds": 0}\n', "line 1: 'steps' is missing"),
        ("evaluation.jsonl", '{"update": 0, "loss": "a"}\n', "'loss' is \"a\", but must be a num"),
    ],
)
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, name, text, message):
    run = write_run(tmp_path / "run")
    (run / name).unlink()
    if text is not None:
        (run / name).write_text(text)
    with pytest.raises(ReportError, match=re.escape(message)):
        write_report([run], tmp_path / "page.html")


def test_a_directory_without_runs_is_named(tmp_path):
    with pytest.raises(ReportError, match="No directory was given"):
        write_report([], tmp_path / "page.html")
    with pytest.raises(ReportError, match="nowhere is not a directory"):
        write_report([tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(ReportError, match="holds no run"):
        write_report([tmp_path], tmp_path / "page.html")
    write_json(tmp_path / "lorenz" / "experiment.json", EXPERIMENT)
    with pytest.raises(ReportError, match="holds experiments, not runs; give one or more of lor"):
        write_report([tmp_path], tmp_path / "page.html")


# The page


def test_the_tables_hold_what_was_computed(tmp_path):
    expected = [{"label": "NRES", "threshold": 50, "low": 15, "high": 25, "note": "as printed"}]
    page = render([write_experiment(tmp_path / "lorenz", expected=expected)], tmp_path)
    rows = {tuple(row) for row in page.rows}
    assert {
        ("NRES", "NRES | window 100", "smoothed gradient")
        + ("sgd | learning_rate 1\u202f×\u202f10⁻⁵", "40", "101, 103, 107"),
        ("NRES", "3", "40.0 | 37.5 to 42.5", "2.60 | 2.60 to 2.60", "3.50 | 3.50 to 3.50", "none"),
        ("TES", "3", "75.0 | 72.5 to 77.5", "2.60 | 2.60 to 2.60", "3.50 | 3.50 to 3.50")
        + ("no seed reached 50",),
        ("generalisation loss at or below 50",),
        ("TES", "0 of 3", "–", "–", "–", "–"),
        ("NRES", "3 of 3", "20 | 20 to 20", "20\u202f500 | 20\u202f500 to 20\u202f500")
        + ("207 | 207 to 207", "1 | 1 to 1"),
        ("NRES", "first update at or below 50 | as printed", "15 to 25")
        + ("20 (20 to 20), all 3 seeds", "inside"),
    } <= rows
    text = "".join(page.text)
    assert "These estimate different gradients: NRES (smoothed gradient); TES (smoothed" in text
    assert "1 of 1 measured statistics lie inside the expected range." in text
    assert (tmp_path / "report.html").exists()


def test_the_page_needs_nothing_else(tmp_path):
    path = write_report([write_experiment(tmp_path / "lorenz")], tmp_path / "deep" / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert not re.search(r"https?://", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert not {"script", "link", "iframe", "img", "object", "metadata"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|\bsrc=", text)
    assert all(target.startswith("data:") or target[0] == "#" for target in references(text))
    assert {target[1:] for target in references(text) if target[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    # Three curves, one surface and one further chart, each with words for those who do not see it.
    assert (
        page.tags.count("svg") == len(re.findall(r'role="img" aria-label="[^"]{20,}"', text)) == 5
    )
    assert '<meta name="viewport"' in text and "#0a00" not in text


def test_a_metric_can_be_better_the_more_it_is(tmp_path):
    """Losses times a negative factor: thresholds and cuts lie on the other side."""
    changes = {"metric": "return", "metric_scale": "linear", "metric_factor": -10.0}
    claims = [entry(statistic="final", low=-600, high=-450)]
    changes |= {"thresholds": [-500], "claims": claims}
    study, metric, labels = read_study(write_experiment(tmp_path / "lorenz", **changes))
    np.testing.assert_array_equal(labels["NRES"].series[0].value, [-10.0 * x for x in LOSSES])
    (reach,) = labels["NRES"].reaches
    np.testing.assert_array_equal(reach.positions["update"], [20, 20, 20])
    assert first_reach(study.runs, metric, -390.0).num_reached == 1
    (comparison,) = compare(study.experiment, tuple(labels.values()), metric, ("a", "b"))
    assert comparison.verdict == "outside"
    text = "".join(render([tmp_path / "lorenz"], tmp_path / "page.html").text)
    assert "return at or above −500" in text and "at or below" not in text
    values = np.array([0.0, 1.0, -99.0])
    curve = Curve("a", np.arange(3.0), values, values, values, 1)
    low, high, cut = value_limits([curve], "linear", rises=True)
    assert cut and -10 < low < 0 and 1 < high < 2


def test_still_rising_is_not_called_falling(tmp_path):
    losses = [[float(v) for v in range(start, start - 40, -2)] for start in (100, 101, 102)]
    write_json(tmp_path / "experiment.json", {**EXPERIMENT, "metric_factor": -1.0})
    for seed, values in enumerate(losses):
        write_run(tmp_path / f"run-{seed}", values, seed=seed)
    _, metric, labels = read_study(tmp_path)
    assert "the metric was still rising at the end" in cautions(labels["NRES"], metric)


def test_pictures_are_part_of_the_page(tmp_path):
    pixels = b"\x89PNG and so on"
    picture = {"title": "A gait", "note": "Seen <from> the side.", "file": "gait.png"}
    directory = write_experiment(tmp_path / "lorenz", pictures=[picture])
    (directory / "gait.png").write_bytes(pixels)
    text = write_report([directory], tmp_path / "page.html").read_text(encoding="utf-8")
    (image,) = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="A gait">', text)
    assert base64.b64decode(image) == pixels
    assert "<figcaption>Seen &lt;from&gt; the side.</figcaption>" in text


@pytest.mark.parametrize(("scale", "ticks"), [("log", 3), ("linear", 0)])
def test_a_chart_has_the_scales_and_the_note_it_asks_for(tmp_path, scale, ticks):
    """From 1 to 1000, of all ticks only those of a log scale are at 10 and 100."""
    series = [
        {"label": "law", "x": [1, 10, 1000], "y": [3, 3, 3]},
        {"label": "law", "style": "points", "x": [1, 1000], "y": [3, 4]},
        {"label": "nothing", "x": [], "y": []},
    ]
    chart = {"title": "Growth", "x_scale": scale, "note": "Lines are <the> law.", "series": series}
    write_experiment(tmp_path / "lorenz", charts=[chart])
    text = write_report([tmp_path / "lorenz"], tmp_path / "page.html").read_text(encoding="utf-8")
    _, _, figure = text.partition("Growth</h2>")
    assert sum(f">{tick}</text>" in figure for tick in ("1", "10", "100")) == ticks
    assert "<figcaption>Lines are &lt;the&gt; law.</figcaption>" in figure


def test_an_experiment_of_charts_alone_is_a_page_of_charts(tmp_path):
    write_json(tmp_path / "lorenz" / "experiment.json", {**EXPERIMENT, "surface": None})
    page = render([tmp_path / "lorenz"], tmp_path / "page.html")
    text = "".join(page.text)
    assert page.tags.count("svg") == 1 and "Hare" in text and "What was run" not in text
    write_json(tmp_path / "lorenz" / "experiment.json", {**EXPERIMENT, "charts": []})
    with pytest.raises(ReportError, match="holds no run"):
        write_report([tmp_path / "lorenz"], tmp_path / "page.html")


def references(text: str) -> list[str]:
    return re.findall(r'\bhref="([^"]+)"', text) + re.findall(r"url\((#[^)]+)\)", text)


def test_the_same_runs_give_the_same_bytes(tmp_path):
    write_experiment(tmp_path / "lorenz")
    first = write_report([tmp_path / "lorenz"], tmp_path / "a.html").read_bytes()
    assert first == write_report([tmp_path / "lorenz"], tmp_path / "b.html").read_bytes()


def test_text_from_files_is_only_text(tmp_path):
    label = "<b>$x_1$ & --> #0a0001</b>"
    write_run(tmp_path / "run", label=label, parameter_names=["<i>a", "$r$"])
    page = render([tmp_path / "run"], tmp_path / "page.html")
    assert "b" not in page.tags and "i" not in page.tags
    assert page.rows[1][0] == label
    assert "".join(page.text).count(label) >= 4


def test_a_single_run_has_a_page(tmp_path):
    page = render([write_run(tmp_path / "run")], tmp_path / "page.html")
    assert page.tags.count("svg") == 4
    assert ["NRES", "1", "40", "2.60", "3.50", "only 1 seed, so no interval"] in page.rows
    assert "".join(page.text).count("NRES on Lorenz") == 2


@pytest.mark.parametrize(
    "losses",
    [[1.0, None, None], [None, None, None], [1.0], [1e300, 1e308, 1e300], [-5.0, 3.0, 1e9]],
)
def test_odd_losses_still_give_a_page(tmp_path, losses):
    for seed in (1, 2):
        write_run(tmp_path / "runs" / f"run-{seed}", losses, seed=seed)
        write_run(tmp_path / "runs" / f"other-{seed}", seed=seed, label="other")
    page = render([tmp_path / "runs"], tmp_path / "page.html")
    assert [row[0] for row in page.rows].count("NRES") == 2


def test_many_parameters_have_a_table_of_their_own(tmp_path):
    run = write_run(tmp_path / "run", num_params=5, parameter_names=list("abcde"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    write_lines(run / "metrics.jsonl", [{**line, "params": [1, 2, 3, 4, 5.5]} for line in lines])
    page = render([run], tmp_path / "page.html")
    assert ["parameter", "NRES"] in page.rows and ["e", "5.50"] in page.rows


def test_options_are_in_words(tmp_path):
    options = {"n": 1234567, "rate": 1e-5, "on": True, "x": [1.5, 2], "times": [1.0, 2.0] * 9}
    run = write_run(tmp_path / "run", problem={"name": "Fit", "options": options})
    text = "".join(render([run], tmp_path / "page.html").text).replace("\u202f", " ")
    words = "n 1234567, rate 1 × 10⁻⁵, on true, x [1.5, 2], times [1, 2, …, 2] (18 values)"
    assert f"Fit ({words})" in text


def test_experiments_and_loose_runs_share_one_page(tmp_path):
    write_experiment(tmp_path / "lorenz")
    write_run(tmp_path / "single", label="PES")
    page = render([tmp_path / "lorenz", tmp_path / "single"], tmp_path / "page.html")
    assert page.tags.count("h1") == 2 and len(page.ids) == len(set(page.ids))


@pytest.fixture(scope="module")
def large_page(tmp_path_factory) -> Path:
    """Six estimators with five seeds of 500 evaluations, over a surface of 100 x 100 points."""
    root = tmp_path_factory.mktemp("large")
    x, y = np.linspace(1.9, 4.0, 100), np.linspace(3.1, 3.9, 100)
    loss = 45 + 900 * (y[:, None] - 3.28) ** 2 + 30 * (x[None, :] - 2.38) ** 2
    values = {"x": x.tolist(), "y": y.tolist(), "loss": loss.tolist(), "scale": "log"}
    write_json(root / "lorenz" / "experiment.json", {**EXPERIMENT, "surface": values})
    generator = np.random.default_rng(0)
    for index, label in enumerate(("BPTT", "FullES", "NRES", "PES", "TBPTT", "TES")):
        for seed in range(5):
            noise = np.exp(0.02 * generator.normal(size=501))
            losses = (47 + 5 * index + 260 * np.exp(-np.arange(501) / (20 + 10 * index))) * noise
            write_run(root / "lorenz" / f"{label}-{seed}", losses.tolist(), label=label, seed=seed)
    return write_report([root / "lorenz"], root)


def test_a_large_page_is_small_enough_to_send(large_page):
    assert large_page.stat().st_size < 1_500_000


def test_a_browser_shows_the_page(large_page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium or google-chrome")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    # Containers have as little as 64 MB of shared memory.
    flags += " --disable-dev-shm-usage"
    flags += " --disable-background-networking --disable-component-update --disable-sync"
    picture = tmp_path / "out.png"
    command = [
        browser,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1000,3000",
        "--virtual-time-budget=5000",
        f"--screenshot={picture}",
        large_page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True)
    pixels = np.round(image.imread(picture)[..., :3] * 255)
    assert pixels.shape[1] == 1000
    # Text at the top, and each label's colour in the curves, well below the tables.
    assert pixels[:300].std() > 10
    for colour in ((0x00, 0x5A, 0x9C), (0xD5, 0x5E, 0x00), (0x00, 0x91, 0x6A), (0xB8, 0x4C, 0x94)):
        near = np.all(np.abs(pixels[900:] - colour) <= 6, axis=-1)
        assert near.sum() > 200
