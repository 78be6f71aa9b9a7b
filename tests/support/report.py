"""Runs and experiments as files with known numbers, and the page of a report as its rows."""

import copy
import html.parser
import json
from pathlib import Path

from unspool import report
from unspool._statistics.summarize import choose_metric, summarize
from unspool.records import read_studies

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
    "metric": "generalization loss",
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
    return study, metric, {one.label: one for one in summarize(study, metric)}


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
    return Page(report(directories, output).read_text(encoding="utf-8"))


def entry(**values) -> dict:
    return {"label": "NRES", "text": "", **values}
