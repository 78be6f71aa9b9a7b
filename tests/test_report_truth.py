"""What a report must not do: average unlike runs, bend what it draws, or read what is elsewhere."""

import dataclasses
import json
import os
import re

import numpy as np
import pytest

from support.report import (
    EXPERIMENT,
    estimator,
    read_study,
    render,
    write_experiment,
    write_json,
    write_lines,
    write_run,
)
from unspool import RunError, report
from unspool._report import drawing
from unspool._report.diagnostics import diagnose
from unspool._report.figures import draw_chart, draw_metric, draw_parameters
from unspool._report.limits import value_limits
from unspool._statistics.curves import Curve, mean_curve
from unspool._statistics.intervals import format_interval, spread
from unspool._statistics.summarize import metric_curve
from unspool.records import Chart, Series, read_studies


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, by name."""
    figures = {}
    save = drawing.to_svg

    def keep(figure, name, *rest):
        figures[name] = figure
        return save(figure, name, *rest)

    monkeypatch.setattr(drawing, "to_svg", keep)
    return figures


def labels_of(*directories) -> list[str]:
    (study,) = read_studies(list(directories))
    return list(study.labels)


def sgd(learning_rate: float) -> dict:
    return {"name": "sgd", "options": {"learning_rate": learning_rate}}


# Runs that are unlike


@pytest.mark.parametrize(
    "changes, labels",
    [
        ({"optimizer": sgd(0.1)}, ["NRES, learning_rate 1e-05", "NRES, learning_rate 0.1"]),
        ({"optimizer": {"name": "adam", "options": {}}}, ["NRES, sgd", "NRES, adam"]),
        ({"estimator": estimator("PES", "gradient")}, None),
        ({"num_updates": 80}, ["NRES, num_updates 40", "NRES, num_updates 80"]),
        (
            {"problem": {"name": "Lorenz", "options": {}}},
            ["NRES, horizon 2000", "NRES, no horizon"],
        ),
        ({"seed": 7, "environment": {"device": "gpu"}, "unspool": "0.2"}, ["NRES"]),
    ],
)
def test_runs_of_unlike_settings_share_no_label(tmp_path, changes, labels):
    first = write_run(tmp_path / "a")
    second = write_run(tmp_path / "b", **{"seed": 103, **changes})
    found = labels_of(first, second)
    assert len(set(found)) == 2 and all(one.startswith("NRES, ") for one in found) or labels
    assert labels is None or found == labels


def with_settings(directory, seed, **changes):
    options = {"learning_rate": 0.1, "table": list(range(40))} | changes.pop("options", {})
    settings = {
        "problem": {"name": "unspool.problems:Cubic", "options": {"horizon": 8}},
        "optimizer": {"name": "optax:adam", "options": options},
        "seed": seed, "label": f"run {seed}", "log_every": seed, "num_updates": 40,
    } | changes  # fmt: skip
    return write_run(directory, seed=seed, format=2, settings=settings)


@pytest.mark.parametrize(
    "changes, labels",
    [
        ({}, ["NRES"]),
        (
            {"options": {"learning_rate": 0.5}},
            ["NRES, learning_rate 0.1", "NRES, learning_rate 0.5"],
        ),
        ({"clip_norm": 1.0}, ["NRES, no clip_norm", "NRES, clip_norm 1"]),
        (
            {"schedule": {"name": "optax:cosine_decay_schedule", "options": {"decay_steps": 9}}},
            ["NRES, no schedule", "NRES, cosine_decay_schedule"],
        ),
        (
            {"estimator": {"options": {"phases": {"name": "unspool:Staggered", "options": {}}}}},
            ["NRES, usual phases", "NRES, Staggered"],
        ),
        # Of two long lists the words are the same.
        ({"options": {"table": list(range(41))}}, None),
    ],
)
def test_settings_are_compared_as_they_were_asked_for(tmp_path, changes, labels):
    first = with_settings(tmp_path / "a", 1)
    found = labels_of(first, with_settings(tmp_path / "b", 2, **changes))
    assert found == labels if labels else len(set(found)) == 2


def test_the_place_of_a_file_is_no_setting_and_what_is_in_it_is(tmp_path):
    def of_file(directory, seed, place, digest):
        own = with_settings(tmp_path / directory, seed, problem={"name": f"{place}:Walk"})
        config = json.loads((own / "config.json").read_text())
        write_json(own / "config.json", {**config, "fingerprints": {place: digest}})
        return own

    first, moved = of_file("a", 1, "mine.py", "d1" * 8), of_file("b", 2, "../x/mine.py", "d1" * 8)
    assert labels_of(first, moved) == ["NRES"]
    edited = of_file("c", 3, "mine.py", "e2" * 8)
    assert len(labels_of(first, moved, edited)) == 2


def test_a_label_that_grows_does_not_become_another(tmp_path):
    runs = [
        write_run(tmp_path / "a"),
        write_run(tmp_path / "b", optimizer=sgd(0.1)),
        write_run(tmp_path / "c", optimizer=sgd(0.5), label="NRES, learning_rate 0.1"),
    ]
    assert len(set(labels_of(*runs))) == 3


def test_a_seed_counts_once(tmp_path):
    """A copy of a run is no further seed; of two that are unlike in length the longer is shown."""
    short, whole = write_run(tmp_path / "a", [9.0, 8.0]), write_run(tmp_path / "b")
    for run in (short, whole):
        config = json.loads((run / "config.json").read_text())
        write_json(run / "config.json", {**config, "num_updates": 40})
    (study,) = read_studies([short, whole])
    assert [run.path for run in study.runs] == [whole]


# Figures


def test_nothing_is_drawn_at_the_edge_of_a_logarithmic_axis(tmp_path, drawn):
    """The one run takes a hundred times as long as the other, and both start at 310."""
    write_run(tmp_path / "short", [310.0, 133.0, 120.0, 47.0], label="FullES")
    long = [310.0, *np.linspace(200, 40, 400)]
    write_run(tmp_path / "long", long, label="PES", num_updates=4000)
    study, metric, labels = read_study(tmp_path)
    made = draw_metric(list(labels.values()), metric, "update", {"FullES": 0, "PES": 1}, "a")
    (axes,) = drawn["a-wide"].axes
    assert axes.get_xscale() == "log"
    left = axes.get_xlim()[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2 and line.get_gid()]
    assert all(np.min(line.get_xdata()) > 0 for line in lines)
    starts = [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines[:2]]
    assert (10.0, 133.0) in starts and left <= 10.0
    assert "no place for 0, where the values are: PES 310, FullES 310" in made.notes[0] or (
        "no place for 0, where the values are: FullES 310, PES 310" in made.notes[0]
    )
    # Nothing is lost where numbers are taken away.
    assert all(line.x[0] == 0 and line.y[0] == 310 for line in made.data.panels[0][1])


def test_a_chart_leaves_out_what_has_no_place_on_its_axes(drawn):
    series = [Series.line("a", [0, 1, 10, 100], [1, 0, 3, 4])]
    chart = Chart(title="t", x_scale="log", y_scale="log", series=series)
    made = draw_chart(chart, {"a": 0}, "chart")
    (axes,) = drawn["chart-wide"].axes
    line = axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [1, 10, 100])
    np.testing.assert_array_equal(line.get_ydata(), [np.nan, 3, 4])
    assert axes.get_xlim()[0] > 0.5 and "is left out" in made.notes[0]


def test_training_losses_are_drawn_beside_evaluations(tmp_path):
    write_run(tmp_path / "run")
    text = report([tmp_path], tmp_path / "page.html").read_text("utf-8")
    assert '<figure id="study-1-training">' in text
    training = text.partition('id="study-1-training"')[2]
    data = json.loads(re.findall(r'"application/json">(.*?)</script>', training)[0])
    assert data["panels"][0]["lines"][0]["y"] == [140.0, 98.0, 110.0, 80.0]


def test_what_limits_a_training_is_drawn_where_it_is_logged(tmp_path):
    """Without what noise alone has left, and without a sigma that stays."""
    logged = {"signal_to_noise": [9.0, 3.0, -0.1, 0.5], "lag": [2.0, 1.0, 0.5, 0.2]}
    falls, stays = {"sigma": [0.4, 0.4, 0.1, 0.1]}, {"sigma": [0.4] * 4}
    for found, shown in ((logged | falls, 3), (logged | stays, 2), ({}, 0)):
        file = write_run(tmp_path / "run") / "metrics.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for number, line in enumerate(lines[1:]):
            line |= {name: values[number] for name, values in found.items()}
        write_lines(file, lines)
        text = report([tmp_path / "run"], tmp_path / "page.html").read_text("utf-8")
        drawn = text.partition('<figure id="study-1-diagnostics">')[2]
        assert bool(drawn) == bool(shown)
        if drawn:
            data = json.loads(re.findall(r'"application/json">(.*?)</script>', drawn)[0])
            lines = [panel["lines"][0] for panel in data["panels"]]
            right = [[9, 3, 0.5], logged["lag"], falls["sigma"]]
            assert [line["y"] for line in lines] == right[:shown]
            assert lines[0]["x"] == [10, 20, 40]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_runs_that_are_drawn_by_themselves_are_not_cut(scale):
    """Whatever the band of another curve is."""
    x, values = np.arange(3.0), np.array([4.0, 5.0, 4.0])
    pooled = Curve("a", x, values, 0.9 * values, 1.1 * values, 3)
    runs = np.array([[4.0, 1.0, 0.1], [4.0, 6.0, 9.0]])
    apart = Curve("b", x, runs.mean(axis=0), *[runs.mean(axis=0)] * 2, 2, runs=runs)
    low, high, cut = value_limits([pooled, apart], scale)
    assert low <= 0.1 and high >= 9 and not cut


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_no_band_of_a_positive_quantity_reaches_below_zero(tmp_path, scale):
    write_json(tmp_path / "experiment.json", {**EXPERIMENT, "metric_scale": scale})
    for seed, last in enumerate((1.0, 2.0, 30.0)):
        write_run(tmp_path / f"run-{seed}", [50.0, 40.0, 30.0, 20.0, last], seed=seed)
    _, metric, labels = read_study(tmp_path)
    curve = metric_curve(labels["NRES"], metric, "update")
    assert curve is not None and np.all(curve.low > 0) and curve.is_range == (scale == "linear")
    # The mean of 11 has a t-interval from -30 to 52.
    final = labels["NRES"].final
    assert (final.low, final.high, format_interval(final)) == (1.0, 30.0, "range 1 to 30")


def test_a_quantity_of_any_sign_keeps_its_t_interval():
    values = np.array([1.0, 2.0, 30.0])
    assert spread(values).low < 0 < spread(values, is_positive=True).low
    signed = mean_curve("a", [(np.arange(3.0), x * np.ones(3)) for x in values])
    assert signed is not None and np.all(signed.low < 0)


def test_runs_in_two_groups_are_shown_one_by_one(tmp_path):
    """As five seeds of truncated estimates end with MuJoCo's swimmer."""
    ends = (7.0, 23.0, 31.0, 302.0, 311.0)
    for seed, end in enumerate(ends):
        write_run(tmp_path / f"run-{seed}", [5.0, *[end] * 10], seed=seed)
    write_json(tmp_path / "experiment.json", {**EXPERIMENT, "metric_scale": "linear"})
    _, metric, labels = read_study(tmp_path)
    made = draw_metric(list(labels.values()), metric, "steps", {"NRES": 0}, "a")
    lines = made.data.panels[0][1]
    assert [line.run for line in lines] == [f"run {number}" for number in range(1, 6)]
    assert all(line.low is None for line in lines) and "lie in two groups" in made.notes[0]
    assert made.notes[0].startswith("Each run of NRES is drawn")
    twice = [dataclasses.replace(labels["NRES"], label=label) for label in ("NRES, tuned", "TES")]
    made = draw_metric(twice, metric, "steps", {"NRES, tuned": 0, "TES": 1}, "b")
    assert made.notes[0].startswith("Each run of NRES, tuned; TES is drawn")
    ends_of = format_interval(labels["NRES"].final)
    assert ends_of == "3 runs 7 to 31; 2 runs 302 to 311"
    assert any("two groups" in one for one in diagnose(labels["NRES"], metric))


def test_normal_values_are_seldom_taken_for_two_groups():
    generator = np.random.default_rng(0)
    for count, most in ((4, 0.09), (5, 0.08), (10, 0.05), (30, 0.01)):
        rows = generator.normal(size=(1000, count))
        assert np.mean([bool(spread(row).groups) for row in rows]) < most


@pytest.mark.parametrize(
    "name, own, expected, scale",
    [
        ("log rate", "rate", np.exp([-5.0, -5.5, -6.0]), "log"),
        ("logit share", "share", 1 / (1 + np.exp([5.0, 5.5, 6.0])), "linear"),
        ("log_a", "log_a", [-5.0, -5.5, -6.0], "linear"),
    ],
)
def test_parameters_are_drawn_in_their_own_units(tmp_path, drawn, name, own, expected, scale):
    run = write_run(tmp_path / "run", [3.0, 2.0, 1.0], num_params=1, parameter_names=[name])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line, value in zip(lines, (-5.0, -5.5, -6.0), strict=True):
        line["params"] = [value]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, _, labels = read_study(tmp_path)
    draw_parameters(list(labels.values()), [name], {"NRES": 0}, "a")
    (axes,) = drawn["a-wide"].axes
    assert (axes.get_ylabel(), axes.get_yscale()) == (own, scale)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), expected)
    page = render([tmp_path], tmp_path / "page.html")
    assert own in [cell for row in page.rows for cell in row]
    final = {"log rate": "0.00248", "logit share": "0.00247"}.get(name, "−6")
    assert final in [cell.replace("\u202f", " ") for row in page.rows for cell in row]


def test_what_never_changes_has_an_axis_too(tmp_path, drawn):
    write_run(tmp_path / "run", [5.0] * 5, num_params=1, parameter_names=["log rate"])
    run = tmp_path / "run" / "metrics.jsonl"
    lines = [{**json.loads(line), "params": [-3.0]} for line in run.read_text().splitlines()]
    run.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, _, labels = read_study(tmp_path)
    draw_parameters(list(labels.values()), ["log rate"], {"NRES": 0}, "a")
    low, high = drawn["a-wide"].axes[0].get_ylim()
    assert low < np.exp(-3.0) < high


# Tables


def test_a_run_that_made_all_updates_is_not_called_short_of_them(tmp_path):
    write_run(tmp_path / "run", status="running")
    _, metric, labels = read_study(tmp_path)
    (said,) = [one for one in diagnose(labels["NRES"], metric) if "finished" in one]
    assert said.startswith("training of seed 101 not finished, after all 40 updates")


def test_a_run_without_a_final_evaluation_has_no_final_value(tmp_path):
    write_run(tmp_path / "a", [50.0] * 5, seed=1)
    broken = write_run(tmp_path / "b", [90.0] * 5, seed=2)
    lines = (broken / "evaluation.jsonl").read_text().splitlines(keepends=True)
    (broken / "evaluation.jsonl").write_text("".join(lines[:3]))
    _, metric, labels = read_study(tmp_path)
    assert labels["NRES"].final.mean == 50.0 and labels["NRES"].final.count == 1
    said = diagnose(labels["NRES"], metric)
    assert "no final evaluation of seed 2: the last is at update 20" in said
    rows = render([tmp_path], tmp_path / "page.html").rows
    assert any(row[:2] == ["NRES", "1 of 2"] for row in rows)


# Files


@pytest.mark.parametrize("name", ["../secret.png", "/secret.png", "link.png", "up/secret.png"])
def test_no_picture_is_read_from_elsewhere(tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    picture = {"title": "a", "file": name.replace("/secret", f"{tmp_path}/secret", name[0] == "/")}
    directory = write_experiment(tmp_path / "lorenz", pictures=[picture])
    (directory / "link.png").symlink_to(tmp_path / "secret.png")
    (directory / "up").symlink_to(tmp_path)
    with pytest.raises(RunError, match="leads out of .* from which alone files are read"):
        report([directory], tmp_path / "page.html")


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluation.jsonl", "status.json"])
def test_no_file_of_a_run_is_a_link_or_a_pipe(tmp_path, name):
    run = write_run(tmp_path / "run")
    (run / name).rename(tmp_path / name)
    (run / name).symlink_to(tmp_path / name)
    with pytest.raises(RunError, match="leads out of"):
        report([run], tmp_path / "page.html")
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(RunError, match="is no regular file"):
        report([run], tmp_path / "page.html")


def test_no_run_is_taken_from_behind_a_link(tmp_path):
    write_run(tmp_path / "elsewhere" / "run")
    write_run(tmp_path / "runs" / "own")
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "elsewhere" / "run")
    with pytest.raises(RunError, match="linked leads out of"):
        report([tmp_path / "runs"], tmp_path / "page.html")
    # One that is named is meant.
    assert report([tmp_path / "runs" / "linked"], tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    "name, text",
    [
        ("config.json", "[" * 100_000),
        ("config.json", '{"format": 1, "label": "\\ud800"}'),
        ("status.json", '{"format": 1, "status": "finished", "message": "\\udfff"}'),
        ("metrics.jsonl", '{"update": 1' + "0" * 5000 + "}\n"),
        ("metrics.jsonl", '{"update": 0, "seconds": 0, "steps": 1' + "0" * 400 + "}\n"),
        ("metrics.jsonl", "\x00\x01\n"),
        ("evaluation.jsonl", '{"update": 0, "loss": 1' + "0" * 400 + "}\n"),
        ("evaluation.jsonl", "5\n"),
    ],
)
def test_an_odd_file_is_one_sentence(tmp_path, name, text):
    run = write_run(tmp_path / "run")
    (run / name).write_text(text)
    with pytest.raises(RunError, match=name) as caught:
        report([run], tmp_path / "page.html")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
