"use strict";
document.documentElement.classList.remove("no-script");
const all = (where, what) => [...where.querySelectorAll(what)];

// Labels that are shown or hidden, in every figure and table.
const boxes = all(document, ".pick input");
for (const box of boxes) box.addEventListener("change", () => {
  for (const other of boxes) if (other.value === box.value) other.checked = box.checked;
  for (const node of all(document, `[data-series="${box.value}"]:not(.pick .label)`))
    node.classList.toggle("off", !box.checked);
});

// Rows of tables, by the numbers or the words of a column.
const key = (row, at) => row.cells[at].dataset.value ?? row.cells[at].textContent;
function inOrder(a, b) {
  const [x, y] = [Number(a), Number(b)];
  if (a.trim() && b.trim() && !isNaN(x) && !isNaN(y)) return x - y;
  return isNaN(x) - isNaN(y) || a.localeCompare(b);
}
for (const table of all(document, "table.sortable")) {
  for (const [at, head] of all(table, "thead th").entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of all(table, "thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = all(table, "tbody tr");
      rows.sort((a, b) => (up ? 1 : -1) * inOrder(key(a, at), key(b, at)));
      table.tBodies[0].append(...rows);
    });
  }
}

// The numbers of a figure, as a file and below the pointer.
const words = document.getElementById("values");
const short = (value) => Math.abs(value) < 1e-3 || Math.abs(value) >= 1e9
  ? String(Number(value.toPrecision(4))) : value.toLocaleString("en", { maximumSignificantDigits: 4 });
for (const figure of all(document, "figure:has(> script)")) {
  const text = figure.querySelector("script").textContent;
  figure.querySelector(".json").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = figure.id + ".json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  const data = JSON.parse(text);
  for (const svg of all(figure, "svg[data-frames]")) {
    const frames = JSON.parse(svg.dataset.frames);
    svg.addEventListener("pointermove", (event) => point(event, svg, frames, data));
    svg.addEventListener("pointerleave", () => { words.hidden = true; });
  }
}

// How far along an axis a value is, as a part of its length.
function along([low, high, scale], value) {
  const at = scale === "log" ? Math.log : (x) => x;
  return (at(value) - at(low)) / (at(high) - at(low));
}

function point(event, svg, frames, data) {
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const index = frames.findIndex(({ box: [left, top, right, bottom] }) =>
    left <= place.x && place.x <= right && top <= place.y && place.y <= bottom);
  const found = index < 0 ? [] : near(place, frames[index], data.panels[index].lines, data.panels[index].y);
  words.hidden = found.length === 0;
  words.replaceChildren(...found.map((line) => Object.assign(document.createElement("p"), { textContent: line })));
  const [x, y] = [event.clientX + 14, event.clientY + 14];
  words.style.left = Math.max(0, Math.min(x, innerWidth - words.offsetWidth - 4)) + "px";
  words.style.top = Math.max(0, Math.min(y, innerHeight - words.offsetHeight - 4)) + "px";
}

// Of every line the point nearest to the pointer, those that are nearest first.
function near(place, frame, lines, name) {
  const [left, top, right, bottom] = frame.box;
  const found = [];
  for (const line of lines) {
    const box = boxes.find((other) => Number(other.value) === line.series);
    if (!line.y || (box && !box.checked)) continue;
    let best = null;
    for (const [i, x] of line.x.entries()) {
      if (line.y[i] === null) continue;
      const across = left + along(frame.x, x) * (right - left) - place.x;
      const up = bottom - along(frame.y, line.y[i]) * (bottom - top) - place.y;
      const far = 10 * Math.abs(across) + Math.abs(up);
      if (Math.abs(across) < 12 && far < (best?.far ?? Infinity)) best = { far, up: Math.abs(up), i, line };
    }
    if (best) found.push(best);
  }
  found.sort((a, b) => a.up - b.up);
  if (found.length === 0) return [];
  return [`at ${short(found[0].line.x[found[0].i])}, ${name}:`, ...found.slice(0, 8).map(describe)];
}

function describe({ i, line }) {
  const ends = line.low ? ` (${short(line.low[i])} to ${short(line.high[i])})` : "";
  return `${line.label}${line.run ? ", " + line.run : ""}: ${short(line.y[i])}${ends}`;
}
