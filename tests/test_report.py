"""The page of a report: what its tables and figures hold, and what a browser makes of it."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from support.report import (
    EXPERIMENT,
    Page,
    render,
    write_experiment,
    write_json,
    write_lines,
    write_run,
)
from support.slow import slow
from unspool import RunError, report
from unspool._report import drawing
from unspool._report.labels import LineEnd, label_ends, spread


def test_the_tables_hold_what_was_computed(tmp_path):
    expected = [{"label": "NRES", "threshold": 50, "low": 15, "high": 25, "note": "as printed"}]
    page = render([write_experiment(tmp_path / "lorenz", expected=expected)], tmp_path)
    rows = {tuple(row) for row in page.rows}
    assert {
        ("NRES", "NRES | window 100", "smoothed gradient")
        + ("sgd | learning_rate 1\u202f×\u202f10⁻⁵", "40", "101, 103, 107"),
        ("NRES", "3", "40.0 | 37.5 to 42.5", "best", "40\u202f500", "2", "13.5", "33.1", "none"),
        ("TES", "3", "75.0 | 72.5 to 77.5", "35", "40\u202f500", "2", "13.5", "33.1")
        + ("no seed reached 50",),
        ("50", "TES", "0 of 3", "–", "–", "–", "–"),
        ("50", "NRES", "3 of 3", "20", "20\u202f500", "207", "1"),
        ("NRES", "first update at or below 50 | as printed", "15 to 25")
        + ("20 (20 to 20), all 3 seeds", "inside"),
    } <= rows
    text = "".join(page.text)
    assert "These estimate different gradients: NRES (smoothed gradient); TES (smoothed" in text
    assert "1 of 1 measured statistics lie inside the expected range." in text
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("num_labels", [1, 3, 4, 7])
def test_each_label_has_a_panel_with_the_ends_of_its_paths(num_labels, tmp_path, monkeypatch):
    drawn = {}
    save = lambda figure, name, *_: drawn.update({name: figure}) or "<svg></svg>"
    monkeypatch.setattr(drawing, "to_svg", save)
    write_json(tmp_path / "lorenz" / "experiment.json", EXPERIMENT)
    for label in "ABCDEFG"[:num_labels]:
        write_run(tmp_path / "lorenz" / label, label=label, seed=1)
    # One that says nothing of its parameters takes no panel from the others.
    bare = write_run(tmp_path / "lorenz" / "bare", label="A", seed=2) / "metrics.jsonl"
    lines = [json.loads(line) for line in bare.read_text().splitlines()]
    write_lines(bare, [{**line, "params": None} for line in lines])
    report([tmp_path / "lorenz"], tmp_path)
    figure = drawn["study-1-paths-wide"]
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert len(panels) == num_labels and all(axes.get_visible() for axes in panels)
    for axes in panels:
        path, first, last, *_ = axes.lines
        for index, dot in ((0, first), (-1, last)):
            assert [x[0] for x in dot.get_data()] == [x[index] for x in path.get_data()]


def test_the_page_needs_nothing_else(tmp_path):
    path = report([write_experiment(tmp_path / "lorenz")], tmp_path / "deep" / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    papers = re.findall(r'<a href="(https://arxiv[.]org/abs/[0-9.]+)">', text)
    bare = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert len(papers) == len(re.findall(r"https?://", bare)) == 0
    assert not {"link", "iframe", "img", "object", "metadata"} & set(page.tags)
    assert not re.search(r"url\((?!#)|@import|\bsrc=|\bimport\b|fetch|XMLHttpRequest", text)
    assert all(target.startswith("data:") or target[0] == "#" for target in references(text))
    assert {target[1:] for target in references(text) if target[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    # Four curves, one surface and one further chart, each with words for those who do not see it,
    # for wide windows and for narrow ones.
    assert len(re.findall(r'role="img" aria-label="[^"]{20,}"', text)) == 12
    assert '<meta name="viewport"' in text and "#0a00" not in text


@pytest.mark.slow
def test_pictures_are_part_of_the_page(tmp_path):
    pixels = b"\x89PNG and so on"
    picture = {"title": "A gait", "note": "Seen <from> the side.", "file": "gait.png"}
    directory = write_experiment(tmp_path / "lorenz", pictures=[picture])
    (directory / "gait.png").write_bytes(pixels)
    text = report([directory], tmp_path / "page.html").read_text(encoding="utf-8")
    (image,) = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="A gait">', text)
    assert base64.b64decode(image) == pixels
    assert "<figcaption><p>Seen &lt;from&gt; the side.</p></figcaption>" in text


def test_every_curve_bears_its_label(tmp_path):
    """Those of the losses, those of the parameters, and those of charts."""
    page = report([write_experiment(tmp_path / "lorenz")], tmp_path).read_text("utf-8")
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    labeled = [len(re.findall(r">(?:NRES|TES)</text>", drawing)) for drawing in drawings]
    assert len(drawings) > 2 and sum(labels == 2 for labels in labeled) >= 2, labeled


@pytest.mark.parametrize(("scale", "ticks"), [("log", 3), slow("linear", 0)])
def test_a_chart_has_the_scales_and_the_note_it_asks_for(tmp_path, scale, ticks):
    """From 1 to 1000, of all ticks only those of a log scale are at 10 and 100."""
    series = [
        {"label": "law", "x": [1, 10, 1000], "y": [3, 3, 3]},
        {"label": "law", "style": "points", "x": [1, 1000], "y": [3, 4]},
        {"label": "nothing", "x": [], "y": []},
    ]
    chart = {"title": "Growth", "x_scale": scale, "note": "Lines are <the> law.", "series": series}
    write_experiment(tmp_path / "lorenz", charts=[chart])
    text = report([tmp_path / "lorenz"], tmp_path / "page.html").read_text(encoding="utf-8")
    _, _, figure = text.partition("Growth</h2>")
    assert sum(f">{tick}</text>" in figure for tick in ("1", "10", "100")) == ticks
    assert "<figcaption><p>Lines are &lt;the&gt; law.</p></figcaption>" in figure


def test_a_table_has_labels_numbers_texts_and_gaps(tmp_path):
    rows = [["NRES", 1234.5, "3 of 5"], ["<other>", None, "none"]]
    table = {
        "title": "Costs",
        "columns": ["method", "steps", "seeds"],
        "rows": rows,
        "note": "*All* of it.",
    }
    write_experiment(tmp_path / "lorenz", tables=[table])
    text = report([tmp_path / "lorenz"], tmp_path / "page.html").read_text(encoding="utf-8")
    _, _, shown = text.partition("Costs</h2>")
    shown = shown.partition("</section>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", shown)
    assert [cell.replace("\u202f", " ") for cell in cells] == ["1234.5", "3 of 5", "–", "none"]
    assert "&lt;other&gt;" in shown and 'class="swatch"' in shown and "<em>All</em> of it." in shown
    table["rows"] = [["NRES", 1.0]]
    write_experiment(tmp_path / "short", tables=[table])
    with pytest.raises(RunError, match="row 1 must be a label and 2 entries"):
        report([tmp_path / "short"], tmp_path / "page.html")


def test_an_experiment_of_charts_alone_is_a_page_of_charts(tmp_path):
    write_json(tmp_path / "lorenz" / "experiment.json", {**EXPERIMENT, "surface": None})
    page = render([tmp_path / "lorenz"], tmp_path / "page.html")
    text = "".join(page.text)
    assert page.ids.count("study-1-chart-1") == 1 and "Hare" in text and "What was run" not in text
    write_json(tmp_path / "lorenz" / "experiment.json", {**EXPERIMENT, "charts": []})
    with pytest.raises(RunError, match="holds no run"):
        report([tmp_path / "lorenz"], tmp_path / "page.html")


def test_label_heights_keep_their_order_and_distance():
    heights = spread([0.5, 0.51, 0.0, 0.99, 0.5], 0.1)
    assert np.argsort(heights, kind="stable").tolist() == [2, 0, 4, 1, 3]
    assert np.all(np.diff(np.sort(heights)) >= 0.1 - 1e-3)
    assert spread([], 0.1) == [] and spread([0.3], 0.1) == [0.3]


@pytest.mark.parametrize(
    ("x", "slope", "side", "level"),
    [(0.3, 0.0, 1, True), (0.9, 0.0, -1, False), (0.3, 1.0, 1, True)],
)
def test_a_label_stands_beside_the_end_of_its_line_within_the_axes(x, slope, side, level):
    """To the right of it, or where there is no room to the left, and then not upon the line."""
    axes = Figure((4, 3)).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    along = np.linspace(0, x, 200)
    axes.plot(along, 0.5 + slope * (along - x))
    label_ends(axes, [LineEnd("a long label", 0, x, 0.5)])
    (text,) = axes.texts
    end = axes.transData.transform((x, 0.5))
    box = text.get_window_extent()
    assert (box.x0 > end[0]) if side > 0 else (box.x1 < end[0])
    assert abs(end[0] - (box.x0 if side > 0 else box.x1)) < 40
    assert (box.y0 < end[1] < box.y1) == level


def test_labels_that_crowd_in_a_corner_stay_within_the_axes():
    """A label upon another hides a word; one outside hides the number of a tick."""
    axes = Figure((6, 3)).subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot(np.linspace(0, 0.3, 200), np.linspace(1, 0, 200))
    label_ends(axes, [LineEnd(f"label of line {n}", n, 0.25, 0.01 * n) for n in range(6)])
    inside = axes.get_window_extent()
    middles = [text.get_window_extent().y0 + text.get_window_extent().y1 for text in axes.texts]
    assert inside.y0 < min(middles) / 2 and max(middles) / 2 < inside.y1


def references(text: str) -> list[str]:
    return re.findall(r'\bhref="([^"]+)"', text) + re.findall(r"url\((#[^)]+)\)", text)


def test_the_same_runs_give_the_same_bytes(tmp_path):
    write_experiment(tmp_path / "lorenz")
    first = report([tmp_path / "lorenz"], tmp_path / "a.html").read_bytes()
    assert first == report([tmp_path / "lorenz"], tmp_path / "b.html").read_bytes()


def test_text_from_files_is_only_text(tmp_path):
    label = "<b>$x_1$ & --> #0a0001</b>"
    write_run(tmp_path / "run", label=label, parameter_names=["<i>a", "$r$"])
    page = render([tmp_path / "run"], tmp_path / "page.html")
    assert "b" not in page.tags and "i" not in page.tags
    assert page.rows[1][0] == label
    assert "".join(page.text).count(label) >= 4


def test_a_description_is_markdown_without_elements_of_its_own(tmp_path):
    description = "One `a < b` and *more*.\n\n- <b>First</b> ![x](y.png) &amp;\n- 2"
    page = render([write_experiment(tmp_path / "lorenz", description=description)], tmp_path)
    assert {"code", "em", "ul"} <= set(page.tags) and not {"b", "img"} & set(page.tags)
    text = "".join(page.text)
    assert "One a < b and more." in text and "<b>First</b> !" in text and "&amp;" in text


def test_a_single_run_has_a_page(tmp_path):
    page = render([write_run(tmp_path / "run")], tmp_path / "page.html")
    figures = ("steps", "sequential_steps", "seconds", "parameters", "training")
    assert {f"study-1-{name}" for name in figures} <= set(page.ids)
    costs = ["40\u202f500", "2"]
    found = ["NRES", "1", "40", "best", *costs, "2.60", "3.50", "only 1 seed, so no interval"]
    assert found in page.rows
    assert "".join(page.text).count("NRES on Lorenz") == 2


@pytest.mark.parametrize(
    "losses",
    [
        slow([1.0, None, None]),
        [None] * 3,
        slow([1.0]),
        [1e300, 1e308, 1e300],
        slow([-5.0, 3.0, 1e9]),
    ],
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


@pytest.mark.slow
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
    return report([root / "lorenz"], root)


@pytest.mark.slow
def test_a_large_page_is_small_enough_to_send(large_page):
    assert large_page.stat().st_size < 2_500_000
