"""What a browser makes of the page: at two widths, light and dark, and in a reader's hands."""

import pytest

from support.browser import look_at
from support.report import write_experiment
from unspool import report

WIDTHS = [390, 1280]

SEE = """(window, document) => {
  const boxes = [...document.querySelectorAll("figure svg, figure img")]
    .map((node) => node.getBoundingClientRect()).filter((box) => box.width > 0);
  const style = (what) => window.getComputedStyle(document.querySelector(what));
  return {
    width: window.innerWidth,
    scroll: document.documentElement.scrollWidth,
    left: Math.min(...boxes.map((box) => box.left)),
    right: Math.max(...boxes.map((box) => box.right)),
    figures: boxes.length,
    letters: Math.min(...[...document.querySelectorAll("figure svg text")]
      .map((node) => node.getBoundingClientRect()).filter((box) => box.height > 0)
      .map((box) => Math.max(box.width, box.height))),
    paper: style("body").backgroundColor,
    line: style("#study-1-steps svg [data-series='0'] path[style*='stroke: var']").stroke,
  };
}"""

USE = """(window, document) => {
  const shown = (what) => [...document.querySelectorAll(what)]
    .filter((node) => node.getClientRects().length > 0).length;
  const column = () => [...document.querySelectorAll("#study-1-at-ends tbody th")]
    .map((node) => node.textContent);
  const found = { before: shown("[data-series='1']"), first: column() };
  document.querySelector(".pick input[value='1']").click();
  found.hidden = shown("[data-series='1']");
  found.others = shown("[data-series='0']");
  document.querySelector(".pick input[value='1']").click();
  found.again = shown("[data-series='1']");
  const final = document.querySelectorAll("#study-1-at-ends thead button")[2];
  final.click(); final.click();
  found.sorted = column();
  found.order = final.parentElement.getAttribute("aria-sort");
  const svg = [...document.querySelectorAll("#study-1-steps svg")]
    .find((node) => node.getClientRects().length > 0);
  const [left, top, right, bottom] = JSON.parse(svg.dataset.frames)[0].box;
  const point = new window.DOMPoint(right - 0.1, (top + bottom) / 2);
  const at = point.matrixTransform(svg.getScreenCTM());
  svg.dispatchEvent(new window.PointerEvent("pointermove", { clientX: at.x, clientY: at.y }));
  found.values = document.getElementById("values").innerText.trim().split(/\\n+/);
  svg.dispatchEvent(new window.PointerEvent("pointerleave", {}));
  found.after = document.getElementById("values").hidden;
  const made = [];
  window.URL.createObjectURL = (blob) => { made.push(blob.type, blob.size); return "#"; };
  document.querySelector("#study-1-steps .json").click();
  return { ...found, made };
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("browser")
    write_experiment(directory / "lorenz")
    return report([directory / "lorenz"], directory).read_text("utf-8")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_cut_and_nothing_goes_wrong(page, tmp_path, dark):
    for width, seen in zip(
        WIDTHS, look_at(page, SEE, tmp_path, widths=WIDTHS, dark=dark), strict=True
    ):
        assert seen["problems"] == []
        assert seen["width"] == width and seen["scroll"] <= width
        # Four curves, the surface and a chart, each once.
        assert seen["figures"] == 6 and 0 <= seen["left"] < seen["right"] <= width
        assert seen["letters"] > 9
        paper, line = ("21, 24, 28", "74, 159, 232") if dark else ("255, 255, 255", "0, 90, 156")
        assert (seen["paper"], seen["line"]) == (f"rgb({paper})", f"rgb({line})")


def test_labels_can_be_hidden_tables_sorted_and_values_read(page, tmp_path):
    for seen in look_at(page, USE, tmp_path, widths=WIDTHS):
        assert seen["problems"] == []
        assert seen["again"] == seen["before"] > 10 and seen["others"] > 10
        # The box by which it comes back stays.
        assert seen["hidden"] == 1
        assert (seen["first"], seen["sorted"]) == (["NRES", "TES"], ["TES", "NRES"])
        assert seen["order"] == "descending"
        assert seen["values"][0] == "at 40,500, generalization loss:"
        assert {line.partition(":")[0] for line in seen["values"][1:]} == {"NRES", "TES"}
        assert "NRES: 39.99 (37.58 to 42.55)" in seen["values"]
        assert seen["after"] and seen["made"][0] == "application/json" and seen["made"][1] > 100


def test_a_problem_would_be_seen(tmp_path):
    """The negative control: a page that is too wide, and one whose script fails."""
    wide = '<!DOCTYPE html><head></head><div style="width:2000px">a</div><script>nothing()</script>'
    look = "(window, document) => ({ scroll: document.documentElement.scrollWidth })"
    (seen,) = look_at(wide, look, tmp_path, widths=[390])
    assert seen["scroll"] >= 2000 and "nothing is not defined" in seen["problems"][0]
