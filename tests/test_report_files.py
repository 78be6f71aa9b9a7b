"""What a report reads of the files of runs, and the errors for files that are not so."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from support.report import EXPERIMENT, entry, write_experiment, write_json, write_lines, write_run
from unspool.report import ReportError, write_report
from unspool.report.read import read_run


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


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("nres-101/config.json", {"format": 3}, "'format' is 3, but must be 1 or 2"),
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
