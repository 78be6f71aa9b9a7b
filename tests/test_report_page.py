"""The page to read and to take away from: verdict, numbers as files, papers, contents, colors."""

import csv
import io
import itertools
import json
import re
from urllib.parse import unquote

import numpy as np
import pytest

from support.report import Page, estimator, read_study, write_experiment, write_run
from unspool import report
from unspool._report.ranking import rank, verdict
from unspool._report.references import papers_of
from unspool._report.style import FAINT, INK, LINK, PALETTE, PAPER, dashes, marker
from unspool.records import read_studies


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("page")
    source = "Li et al. (2023), arXiv 2304.12180"
    write_experiment(directory / "lorenz", source=source)
    return report([directory / "lorenz"], directory).read_text("utf-8")


def csv_of(page: str, name: str) -> list[dict[str, str]]:
    (text,) = re.findall(
        rf'download="{name}[.]csv" href="data:text/csv;charset=utf-8,([^"]*)"', page
    )
    return list(csv.DictReader(io.StringIO(unquote(text.replace("&amp;", "&")))))


def json_of(page: str, name: str) -> dict:
    figure = page.partition(f'<figure id="{name}"')[2] or page.partition(f'id="{name}"')[2]
    return json.loads(re.findall(r'"application/json">(.*?)</script>', figure)[0])


# What is best, by how much, over how many seeds, at what cost


def test_the_page_begins_with_what_was_best(page):
    text = " ".join("".join(Page(page).text).split())
    best = (
        "NRES ends lowest: generalization loss 40.0, mean of 3 seeds, 95 % interval 37.5 to 42.5."
    )
    assert best + " One run took 40 500 problem steps and 2 seconds of training." in text
    # Seed by seed TES is 35 above, up to a rounding, so its own interval has no width.
    assert "TES ends 35 (35 to 35) higher." in text
    assert text.index(best) < text.index("Where it ends", text.index(best))


def test_what_seeds_alone_may_explain_is_not_called_a_difference(tmp_path):
    """Of three seeds each TES is 1.67 above, with a t-interval from -9 to 12."""
    for seed, (ours, theirs) in enumerate(((50.0, 55.0), (52.0, 50.0), (54.0, 56.0))):
        write_run(tmp_path / f"a-{seed}", [ours] * 5, seed=seed)
        other = {"label": "TES", "estimator": estimator("TES", "gradient")}
        write_run(tmp_path / f"b-{seed}", [theirs] * 5, seed=seed, **other)
    _, metric, labels = read_study(tmp_path)
    standings = rank(list(labels.values()), metric)
    best, other = standings
    # Differences 5, -2 and 2: s = 3.512, s / sqrt(3) = 2.028, t(0.975, 2) = 4.3027.
    assert (best.label, other.behind.mean) == ("NRES", pytest.approx(5 / 3))
    assert other.behind.high == pytest.approx(5 / 3 + 4.3027 * 2.0276, abs=1e-3)
    assert verdict(standings, metric)[1].startswith("TES is not told apart from NRES: it ends 2 (")


def test_other_seeds_are_compared_by_their_scatter(tmp_path):
    """Welch: 50, 52 against 60, 64, 68 differ by 13 with a standard error of sqrt(1 + 16 / 3)."""
    for seed, value in enumerate((50.0, 52.0)):
        write_run(tmp_path / f"a-{seed}", [value] * 5, seed=seed)
    for seed, value in enumerate((60.0, 64.0, 68.0), start=10):
        write_run(tmp_path / f"b-{seed}", [value] * 5, seed=seed, label="PES")
    _, metric, labels = read_study(tmp_path)
    behind = rank(list(labels.values()), metric)[1].behind
    assert behind.mean == 13.0 and behind.standard_error == pytest.approx(np.sqrt(1 + 16 / 3))
    # 2.757 degrees of freedom by Welch and Satterthwaite, so that t is between 3.18 and 4.30.
    assert 3.18 < (behind.high - behind.mean) / behind.standard_error < 3.5


def test_a_label_that_lost_runs_is_not_best(tmp_path):
    for seed in (1, 2):
        write_run(tmp_path / f"a-{seed}", [50.0] * 5, seed=seed)
        lost = [1.0] * 5 if seed == 1 else [1.0, None, None, None, None]
        write_run(tmp_path / f"b-{seed}", lost, seed=seed, label="PES")
    _, metric, labels = read_study(tmp_path)
    standings = rank(list(labels.values()), metric)
    assert [one.label for one in standings] == ["NRES", "PES"]
    assert "(1 of 2 seeds have no final value)" in verdict(standings, metric)[1]


# Numbers to take away


def test_every_figure_can_be_taken_away_as_csv_and_json(page):
    figures = re.findall(r'<figure[^>]* id="([^"]+)"', page)
    assert len(figures) == 6
    for name in figures:
        data, rows = json_of(page, name), csv_of(page, name)
        lines = [line for panel in data["panels"] for line in panel["lines"]]
        assert data["name"] == name
        assert len(rows) == sum(len(line["x"]) for line in lines) > 0
        assert [row["label"] for row in rows[:3]] == [lines[0]["label"]] * 3


def test_the_numbers_are_those_that_are_drawn(page):
    rows = [row for row in csv_of(page, "study-1-steps") if row["label"] == "NRES"]
    steps = [float(row["problem steps, warm-up included"]) for row in rows]
    assert steps == [500, 10_500, 20_500, 30_500, 40_500]
    # Seeds 101, 103 and 107 have 40, 41 and 39 at the end.
    last = rows[-1]
    logs = np.log([40.0, 41.0, 39.0])
    half = 4.302653 * np.std(logs, ddof=1) / np.sqrt(3)
    mean = np.mean(logs)
    found = [float(last[name]) for name in ("generalization loss", "low", "high")]
    np.testing.assert_allclose(found, np.exp([mean, mean - half, mean + half]), rtol=1e-5)
    assert (last["interval"], last["seeds"]) == ("t95-log", "3")


def test_every_run_is_a_row_of_a_table_to_take_away(page):
    rows = csv_of(page, "study-1-runs")
    (own,) = [row for row in rows if (row["label"], row["seed"]) == ("NRES", "103")]
    assert len(rows) == 6
    assert own == {
        "label": "NRES", "seed": "103", "status": "finished", "final generalization loss": "41.0",
        "update": "40.0", "steps": "40500.0", "sequential_steps": "407.0", "seconds": "2.0",
        "a": "13.4637", "r": "33.1155", "updates to 80": "10.0", "updates to 50": "20.0",
    }  # fmt: skip


def test_text_in_the_data_ends_no_script(tmp_path):
    label = '</script><script>alert("x")</script>'
    run = write_run(tmp_path / "run", label=label)
    text = report([run], tmp_path / "page.html").read_text("utf-8")
    assert "<script>alert" not in text
    assert json_of(text, "study-1-steps")["panels"][0]["lines"][0]["label"] == label


# Papers and contents


def test_papers_are_named_with_their_address(page, tmp_path):
    paper = re.findall(r'<li><a href="([^"]+)">([^<]+)</a></li>', page)
    assert (
        "https://arxiv.org/abs/2304.12180",
        "Li et al. (2023), Variance-Reduced Gradient Estimation via Noise-Reuse in Online "
        "Evolution Strategies, Advances in Neural Information Processing Systems, arXiv 2304.12180",
    ) in paper
    own = write_run(tmp_path / "run", references=["baydin2022", "werbos1990", "nobody"])
    (study,) = read_studies([own])
    first, second = papers_of(study)
    assert first.text.startswith("Baydin et al. (2022), Gradients without Backpropagation")
    assert second.text.startswith("Werbos (1990)") and second.link == ""


def test_the_contents_lead_to_every_section(page):
    contents = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a>', page)
    sections = re.findall(r'<section id="([^"]+)">\s*<h2>([^<]+)</h2>', page)
    assert contents == sections and len(sections) == 9


# Colors


def luminance(color: str) -> float:
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first: str, second: str) -> float:
    """The contrast of two colors as WCAG 2 defines it."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_every_line_stands_out_from_the_background(theme):
    paper = PAPER[theme]
    assert min(contrast(both[theme], paper) for both in PALETTE) >= 3.0
    assert min(contrast(both[theme], paper) for both in (INK, FAINT, LINK)) >= 4.5
    # Those of Okabe and Ito as they are do not: yellow on white, black on the dark page.
    assert contrast("#f0e442", "#ffffff") < 3 and contrast("#000000", PAPER[1]) < 3


def test_lines_are_told_apart_without_colors():
    """Neighbors have other dashes, and no two of the first 32 series look the same."""
    looks = [(dashes(n), marker(n), PALETTE[n % len(PALETTE)]) for n in range(32)]
    assert len(set(looks)) == 32
    assert len({look[:2] for look in looks[:8]}) == 8
    assert all(first[0] != second[0] for first, second in itertools.pairwise(looks[:8]))


def test_a_figure_says_which_part_is_whose(page):
    wide = page.partition('<figure id="study-1-steps"')[2].partition("</svg>")[0]
    assert {"0", "1"} == set(re.findall(r'<g data-series="(\d+)"', wide))
    (frames,) = re.findall(r'data-frames="([^"]+)"', wide)
    (frame,) = json.loads(frames.replace("&quot;", '"'))
    assert frame["x"][2] == "linear" and frame["y"][2] == "log"
    left, top, right, bottom = frame["box"]
    assert 0 < left < right and 0 < top < bottom
