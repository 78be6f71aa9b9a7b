"""The notebook of the docs runs, tells what it promises, and holds no more than its outputs."""

import re
import runpy
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
for needed in ("ipykernel", "ipywidgets", "matplotlib", "nbclient"):
    pytest.importorskip(needed)

DOCS = Path(__file__).parent.parent / "docs"
TOUR = runpy.run_path(str(DOCS / "tour.py"))
WIDGET = TOUR["WIDGET"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook once a kernel has run it."""
    return TOUR["run"](tmp_path_factory.mktemp("tour"))


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def words(notebook):
    """All that cells have printed or returned, as text."""
    texts = [x.get("text") or x.get("data", {}).get("text/plain", "") for x in outputs(notebook)]
    return "\n".join(texts)


def test_the_tour_tells_the_story_that_it_promises(executed):
    text = words(executed)
    assert re.findall(r"BiasTest\(verdict='(\w+)'", text) == ["unbiased", "biased"]
    costs = {name: float(cost) for name, cost in re.findall(r"(\w+): (\S+) a day", text)}
    # An empty shop pays 2 for the order and 5 for each customer, every day.
    assert costs["TBPTT"] == pytest.approx(7.0, abs=0.01)
    # The best of a grid of levels is 0.82.
    assert costs["NRES"] < 0.85


def test_a_notebook_shows_bars_and_figures_and_tables(executed):
    shown = [output.get("data", {}) for output in outputs(executed)]
    assert sum(WIDGET in data for data in shown) == 6
    assert sum("image/png" in data for data in shown) == 2
    assert sum("<table>" in data.get("text/html", "") for data in shown) == 4
    # Bars print nothing beside their widgets, and nothing warns: only the last cell prints.
    assert [x.name for x in outputs(executed) if x.output_type == "stream"] == ["stdout"]


def test_the_outputs_that_are_committed_are_those_of_its_cells(executed):
    kept = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    TOUR["keep_what_lasts"](executed)
    for cell, fresh in zip(kept.cells, executed.cells, strict=True):
        assert cell.get("execution_count") == fresh.get("execution_count")
        types = [sorted(x.get("data", {})) for x in cell.get("outputs", [])]
        assert types == [sorted(x.get("data", {})) for x in fresh.get("outputs", [])]
    assert set(kept.metadata) == {"kernelspec", "language_info"}
    assert (DOCS / "tour.ipynb").stat().st_size < 200_000


def test_the_links_of_the_tour_lead_somewhere():
    notebook = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    assert "quickstart.md" in links
    assert [link for link in links if not (DOCS / link).exists()] == []
