"""What a logger keeps in a run's directory, to go on with the same run elsewhere."""

import json
from pathlib import Path
from typing import Any

from ..records.files import write_text


class Memory:
    """A small table in a file of the run's directory; without a directory it is not kept."""

    def __init__(self, directory: Path | None, name: str):
        self._file = None if directory is None else directory / name
        self._values: dict[str, Any] = {}
        if self._file is not None and self._file.exists():
            self._values = json.loads(self._file.read_text(encoding="utf-8"))

    def get(self, name: str) -> Any:
        """The value of this name; `None` if there is none."""
        return self._values.get(name)

    def set(self, name: str, value: Any) -> None:
        """Keeps a value."""
        self._values[name] = value
        if self._file is not None:
            write_text(self._file, json.dumps(self._values) + "\n")
