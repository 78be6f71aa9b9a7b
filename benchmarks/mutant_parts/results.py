"""What has become of mutants, in a file that is written after each."""

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

from .mutant import Mutant

FOUND = "killed", "hung"


class Results:
    """A line for each mutant by its name: room, kind, diff, status, tests run and who killed it."""

    def __init__(self, file: Path):
        self._file = file
        self._lock = threading.Lock()
        known = json.loads(file.read_text())["mutants"] if file.exists() else {}
        self._before: dict[str, dict] = known
        self.lines: dict[str, dict] = {}

    def enter(self, mutant: Mutant, room: str, diff: str) -> None:
        """Begins a line; what is known of a mutant that is no longer there is forgotten."""
        before = self._before.get(mutant.name, {})
        self.lines[mutant.name] = before | {"room": room, "kind": mutant.kind, "diff": diff}

    def wants(self, mutant: Mutant, again: bool) -> bool:
        """Whether a mutant is to be tried, for the first time or once more."""
        status = self.lines[mutant.name].get("status")
        return status is None or (again and status not in FOUND)

    def note(self, mutant: Mutant, **outcome) -> None:
        with self._lock:
            self.lines[mutant.name] |= outcome
            partial = self._file.with_name(self._file.name + ".partial")
            partial.write_text(json.dumps({"mutants": self.lines}, indent=1) + "\n")
            os.replace(partial, self._file)

    def killers(self, place: str) -> Iterator[str]:
        """The tests that have killed mutants of a file, or of those in a folder."""
        with self._lock:
            lines = list(self.lines.items())
        return (
            x["by"]
            for name, x in lines
            if name.startswith((f"{place}:", f"{place}/")) and x.get("by")
        )

    def survivors(self, equivalent) -> list[str]:
        """The diffs of those that no test has noticed."""
        tried = [(name, x) for name, x in self.lines.items() if "status" in x]
        left = [(n, x) for n, x in tried if x["status"] not in FOUND and n not in equivalent]
        return [f"{x['status']}: {name}\n{x['diff']}" for name, x in left]


def table(lines: Mapping[str, dict], equivalent: Container[str]) -> str:
    """Rooms with the mutants tried, noticed and left over, as Markdown."""
    tried, found = Counter(), Counter()
    same = Counter(x["room"] for name, x in lines.items() if name in equivalent)
    for name, line in lines.items():
        if "status" in line and name not in equivalent:
            tried[line["room"]] += 1
            found[line["room"]] += line["status"] in FOUND
    rows = ["| room | tried | noticed | equivalent |", "|---|---|---|---|"]
    for room in dict.fromkeys(line["room"] for line in lines.values()):
        if tried[room]:
            rows.append(f"| {room} | {tried[room]} | {found[room]} | {same[room]} |")
    rows.append(f"| all | {tried.total()} | {found.total()} | {same.total()} |")
    return "\n".join(rows)


def reasons(equivalent: Mapping[str, str]) -> str:
    """Each mutant that changes nothing, and why, as Markdown."""
    rows = []
    for name, why in equivalent.items():
        file, _, line = name.partition(": ")
        code, _, change = re.sub(r" \(\d+\)$", "", line).rpartition(": ")
        rows.append(f"- `{file.removeprefix('src/unspool/')}`, `{change}` in `{code}`: {why}.")
    return "\n".join(rows)
