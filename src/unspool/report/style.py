"""Colors and type of the page: one place for both, light, dark and on paper."""

PALETTE = (
    ("#005a9c", "#3b8fe0"),
    ("#d55e00", "#f07a35"),
    ("#00916a", "#2db88a"),
    ("#b84c94", "#e58fc4"),
    ("#4aa3df", "#a5ddfa"),
    ("#30343b", "#f2f2f2"),
    ("#a67b00", "#ebc34a"),
    ("#808080", "#999999"),
)
"""Light and dark color of each series: the hues of Okabe and Ito, apart in lightness too."""

INK = ("#1d2127", "#e4e6ea")
FAINT = ("#5b626d", "#a2a9b4")
RULE = ("#dfe2e7", "#33383f")
PAPER = ("#ffffff", "#15181c")
WARNING = ("#fff6e0", "#35290f")
WARNING_EDGE = ("#c98a00", "#b98a2a")
GOOD = ("#1f7a3d", "#63c987")
BAD = ("#b3261e", "#ff8f85")

NAMED = {
    "ink": INK,
    "faint": FAINT,
    "rule": RULE,
    "paper": PAPER,
    "warning": WARNING,
    "warning-edge": WARNING_EDGE,
    "good": GOOD,
    "bad": BAD,
    **{f"series-{index}": colors for index, colors in enumerate(PALETTE)},
}


def series_variable(index: int) -> str:
    """The CSS color of the series of that number; after eight the colors repeat."""
    return f"var(--series-{index % len(PALETTE)})"


def _variables(which: int) -> str:
    return " ".join(f"--{name}: {colors[which]};" for name, colors in NAMED.items())


def stylesheet() -> str:
    """The CSS of the page. `.light` keeps the light colors, for figures with an image in them."""
    light, dark = _variables(0), _variables(1)
    return f"""
:root {{ color-scheme: light dark; {light} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
.light {{ {light} color: var(--ink); background: var(--paper); }}
{_RULES}"""


_RULES = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 1000px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 0; }
h2 { font-size: 1.25rem; line-height: 1.3; font-weight: 650; margin: 3rem 0 0.6rem;
  padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 650; margin: 1.6rem 0 0.2rem; }
p { margin: 0.5rem 0; max-width: 72ch; }
.study + .study { margin-top: 5rem; border-top: 3px solid var(--ink); padding-top: 2.5rem; }
.source, .note, figcaption { color: var(--faint); }
.note, figcaption { font-size: 0.875rem; line-height: 1.5; }
figure { margin: 1rem 0 1.8rem; }
figure .drawing { overflow-x: auto; }
figure svg, figure img { display: block; width: 100%; min-width: 560px; height: auto; }
figure svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif !important; }
figure.light { padding: 0.9rem 0.8rem; border-radius: 6px; }
.note, figcaption { max-width: 92ch; }
figcaption { margin-top: 0.3rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.3rem; margin: 0.8rem 0 0; padding: 0;
  list-style: none; font-size: 0.925rem; }
.swatch { display: inline-block; width: 0.95em; height: 0.95em; border-radius: 2px;
  margin-right: 0.5em; vertical-align: -0.1em; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.warning { background: var(--warning); border-left: 4px solid var(--warning-edge);
  padding: 0.6rem 1rem; margin: 1.2rem 0; border-radius: 0 4px 4px 0; }
.warning p { margin: 0.2rem 0; max-width: none; }
.scroll { overflow-x: auto; margin: 0.8rem 0 0.4rem; }
table { border-collapse: collapse; width: 100%; min-width: 640px; font-size: 0.9rem;
  line-height: 1.4; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.45rem 1rem 0.45rem 0;
  border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-weight: 600; color: var(--faint); border-bottom: 1.5px solid var(--faint);
  vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr.group th { padding-top: 1.1rem; color: var(--faint); border-bottom-color: var(--faint); }
td .ends { display: block; color: var(--faint); font-size: 0.82rem; white-space: nowrap; }
td .value { white-space: nowrap; }
td ul { margin: 0; padding-left: 1.05em; }
.options { color: var(--faint); overflow-wrap: anywhere; }
.inside { color: var(--good); font-weight: 600; white-space: nowrap; }
.outside { color: var(--bad); font-weight: 600; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.5rem;
  margin: 0.8rem 0; font-size: 0.925rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 4rem; color: var(--faint); font-size: 0.85rem; }
@media (max-width: 600px) { main { padding-top: 1.5rem; } dl { grid-template-columns: 1fr; } }
@media print {
  @page { margin: 16mm 14mm; }
  html { font-size: 12px; }
  main { max-width: none; padding: 0; }
  h2, h3, tr.group { break-after: avoid; }
  figure, tr, .warning { break-inside: avoid; }
  thead { display: table-header-group; }
  figure .drawing, .scroll { overflow: visible; }
  figure svg, table { min-width: 0; }
}
"""
