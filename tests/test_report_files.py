"""What a report reads of the files of runs, and the errors for files that are not so."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from support.report import EXPERIMENT, entry, write_experiment, write_json, write_lines, write_run
from unspool import RunError, report
from unspool.records import (
    Claim,
    Details,
    Expectation,
    Measured,
    Series,
    Setting,
    Status,
    read_run,
)
from unspool.records.files import as_array, read_record, write_record


def test_a_resumed_run_counts_the_later_records_and_a_cut_line_is_left_out(tmp_path):
    run = write_run(tmp_path / "run")
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    again = {**lines[3], "loss": 1.0}
    write_lines(path, [*lines, again])
    path.write_text(path.read_text() + '{"update": 40, "lo')
    records = read_run(run).metrics
    np.testing.assert_array_equal(records.update, [0.0, 10.0, 20.0, 30.0])
    assert records.loss[-1] == 1.0


def test_the_columns_of_a_run_are_those_of_its_lines(tmp_path):
    run = write_run(tmp_path / "run", [3.0, None, 1.0])
    status = run / "status.json"
    found = read_run(str(run))
    np.testing.assert_array_equal(found.metrics.loss, [np.nan, np.nan, 2.0])
    np.testing.assert_array_equal(found.metrics.params[:, 0], [3.0, 2.9, 2.8])
    np.testing.assert_array_equal(found.evaluation.loss, [3.0, np.nan, 1.0])
    assert (found.config.label, found.status) == ("NRES", Status("finished"))
    # Files have more in them than is read here, and older ones less.
    edited(run / "config.json", command=["lorenz", "nres"], environment={})
    status.unlink()
    assert read_run(run).status.state == "running"


def test_a_record_is_found_again_as_it_was_written(tmp_path):
    file, nan = tmp_path / "measured.json", float("nan")
    values = {101: [1.5, nan, np.float64(2.0), np.inf], 103: []}
    write_record(file, Measured(experiment=Setting("small"), label="a", values=values))
    found = read_record(file, Measured)
    assert found.values == {101: [1.5, None, 2.0, None], 103: []}
    np.testing.assert_array_equal(as_array(found.values[101]), [1.5, nan, 2.0, nan])
    assert (found.format, found.experiment) == (1, Setting("small", {}))
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        write_record(file, Setting("small", {"file": file}))
    assert read_record(file, Measured) == found


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Series.line("a", [1, 2], [1]), "'y' has 1 numbers, but must have as many as 'x'"),
        (lambda: Series(label="a", style="band", x=[1], y=[1]), "'low' has 0 numbers"),
        (lambda: Claim("a", "first", 1, 2), "'statistic' is \"first\", but must be"),
        (lambda: Expectation("a", 1, low=3, high=2), "'low' is 3, but must be at most 'high'"),
        (lambda: Details(metric_factor=math.inf), "'metric_factor' is inf, but must be a finite"),
    ],
)
def test_a_record_that_would_be_malformed_cannot_be_made(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def edited(path: Path, **changes) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(values))


def surface(**changes) -> dict:
    return {"surface": {**EXPERIMENT["surface"], **changes}}


@pytest.mark.parametrize(
    "name, changes, message",
    [
        (
            "nres-101/config.json",
            {"format": 3},
            "has format 3, which a newer version",
        ),
        ("nres-101/status.json", {"format": 2}, "has format 2, which a newer version"),
        ("experiment.json", {"format": 9, "title": 3}, "has format 9, which a newer version"),
        ("nres-101/config.json", {"parameter_names": "a"}, "but must be a list of texts"),
        ("nres-101/config.json", {"seed": "a"}, "'seed' is \"a\", but must be a whole number"),
        ("nres-101/config.json", {"problem": 3}, "'problem' is 3, but must be a JSON object"),
        ("nres-101/config.json", {"num_params": 3}, "list of 3 numbers, as 'num_params' says"),
        ("nres-101/status.json", {"status": "odd"}, '"diverged", "failed", "finished", "run'),
        ("experiment.json", {"metric_scale": "cube"}, 'must be one of "linear", "log"'),
        (
            "experiment.json",
            {"thresholds": [1, None]},
            "entry 2 is null, but must be a num",
        ),
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
            '\'x_scale\' is "cube", but must be one of "linear", "log"',
        ),
    ],
)
def test_a_malformed_value_is_named(tmp_path, name, changes, message):
    write_experiment(tmp_path / "lorenz")
    edited(tmp_path / "lorenz" / name, **changes)
    with pytest.raises(RunError, match=re.escape(message)) as caught:
        report([tmp_path / "lorenz"], tmp_path / "page.html")
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
    with pytest.raises(RunError, match=re.escape(message)):
        report([run], tmp_path / "page.html")


def test_a_directory_without_runs_is_named(tmp_path):
    with pytest.raises(RunError, match="No directory was given"):
        report([], tmp_path / "page.html")
    with pytest.raises(RunError, match="nowhere is not a directory"):
        report([tmp_path / "nowhere"], tmp_path / "page.html")
    with pytest.raises(RunError, match="holds no run"):
        report([tmp_path], tmp_path / "page.html")
    write_json(tmp_path / "lorenz" / "experiment.json", EXPERIMENT)
    with pytest.raises(RunError, match="holds experiments, not runs; give one or more of lor"):
        report([tmp_path], tmp_path / "page.html")
