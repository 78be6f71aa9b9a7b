"""Which tests run which lines, and how long they take: what `make coverage` has measured."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import coverage

from .mutant import Mutant

UNSEEN = {
    "src/unspool/_engine/ray": "tests/test_ray",
    "src/unspool/_engine/host": "tests/test_host",
    "src/unspool/_engine/local_executor": "tests/test_host",
    "src/unspool/_engine/make_runner": "tests/test_host",
    "src/unspool/_engine/simulators": "tests/test_host",
    "src/unspool/_engine/callback": "tests/test_host",
    "src/unspool/_engine/failures": "tests/test_host",
    "src/unspool/problems/control/gymnasium": "tests/test_gymnasium",
    "src/unspool/problems/control/mujoco": "tests/test_mujoco",
}
"""Files, and how those that test them begin, whose lines run in threads and processes that nobody
looks into."""


class Covering:
    """The tests of a project, by the lines that they run.

    **Arguments:**

    - `root`: the project.
    - `data`: the file of `coverage`, with a context for each test.
    - `times`: the seconds of each test, as JUnit writes them.
    """

    def __init__(self, root: Path, data: Path, times: Path):
        self._root, self._measured = root, data.stat().st_mtime
        self._data = coverage.CoverageData(str(data))
        self._data.read()
        self._lines: dict[str, dict[int, set[str]]] = {}
        self._chosen: set[str] | None = None
        self.seconds = {}
        for case in ElementTree.parse(times).iter("testcase"):
            file = case.get("classname", "").replace(".", "/") + ".py"
            self.seconds[f"{file}::{_plain(case.get('name', ''))}"] = float(case.get("time", 0))

    def tests_of(self, mutant: Mutant) -> set[str]:
        """Those that run a mutant's line.

        Of a line that is run by an import, or by nothing that is known, those of its file, and of
        a file that is like that throughout all.
        """
        if self._chosen is not None:
            return self._chosen
        lines = self._lines_of(mutant.path)
        found = lines.get(mutant.line) or set().union(*lines.values())
        for start, tests in UNSEEN.items():
            if mutant.path.startswith(start):
                found = found | {test for test in self.seconds if test.startswith(tests)}
        return {test for test in found if test in self.seconds} or set(self.seconds)

    def choose(self, tests: list[str]) -> None:
        """From now on these are taken to run every line, and are asked in their order."""
        self._chosen = set(tests)
        self.seconds |= {test: 60.0 + place for place, test in enumerate(tests)}

    def leave_out(self, tests: list[str]) -> None:
        """Tests that are not to be asked again."""
        for test in tests:
            self.seconds.pop(test, None)

    def _lines_of(self, path: str) -> dict[int, set[str]]:
        if path not in self._lines:
            if (self._root / path).stat().st_mtime > self._measured:
                raise SystemExit(f"{path} is newer than what is known of it: run make coverage")
            contexts = self._data.contexts_by_lineno(str(self._root / path))
            self._lines[path] = {
                line: {_plain(name.partition("|")[0]) for name in names if name}
                for line, names in contexts.items()
            }
        return self._lines[path]


def _plain(test: str) -> str:
    """A test without the group that it ran in."""
    head, found, group = test.rpartition("@")
    return head if found and not set(group) & set("[]/") else test
