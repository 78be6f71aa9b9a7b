"""A change to one place of the library that a test ought to notice."""

import dataclasses
import difflib
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Mutant:
    """Some bytes of a file, and what is written in their place.

    - `path`: the file, from the root of the project.
    - `line`: the number of the line where the change begins, from 1.
    - `code`: that line as it is; with `before`, `after` and `nth` it names a mutant for as long as
      the code stays as it is.
    - `nth`: how many mutants of the same line and wording come before.
    - `kind`: what sort of mistake it is.
    """

    path: str
    line: int
    code: str
    before: str
    after: str
    kind: str
    start: int
    nth: int = 0

    @property
    def name(self) -> str:
        return f"{self.path}: {self.code}: {self.before} -> {self.after} ({self.nth})"

    def change(self, content: bytes) -> bytes:
        """The file's content with the mistake.

        **Raises:** `ValueError` if it does not stand there what is to be changed.
        """
        old = self.before.encode()
        end = self.start + len(old)
        if content[self.start : end] != old:
            raise ValueError(f"{self.path} has changed: there is no {self.before!r} any more")
        return content[: self.start] + self.after.encode() + content[end:]

    def diff(self, root: Path) -> str:
        """The change as lines of a unified diff."""
        content = (root / self.path).read_bytes()
        lines = (x.decode().splitlines() for x in (content, self.change(content)))
        return "\n".join(difflib.unified_diff(*lines, self.path, self.path, n=2, lineterm=""))


def number(mutants: list[Mutant]) -> list[Mutant]:
    """The same mutants, told apart where several have the same wording."""
    seen: dict[str, int] = {}
    numbered = []
    for mutant in mutants:
        nth = seen.get(mutant.name, -1) + 1
        seen[mutant.name] = nth
        numbered.append(dataclasses.replace(mutant, nth=nth))
    return numbered
