"""Where the files of published data may lie on this computer."""

import os
from pathlib import Path
from typing import NamedTuple

SYSTEM = Path("/usr/share/datasets")
"""The folder into which Debian and its relatives install data sets."""


class Collection(NamedTuple):
    """A published data set that comes as files.

    - `title`: its name in errors.
    - `folders`: names of the folders that it is kept in, the distributions' name first.
    - `advice`: where to get it, the end of a sentence.
    """

    title: str
    folders: tuple[str, ...]
    advice: str

    def find(
        self, data_dir: str | os.PathLike | None, files: tuple[tuple[str, ...], ...]
    ) -> list[Path]:
        """The path of each of the files, a file being given by the names that it may have.

        All come from one folder, the first that has any of them: halves of two copies could be
        of different versions. Raises a `FileNotFoundError` for a file that is not there.
        """
        places = self._places(data_dir)
        for place in places:
            if any((place / name).exists() for names in files for name in names):
                places = [place]
                break
        return [self._first(places, names) for names in files]

    def missing(self, name: str, places: list[Path]) -> FileNotFoundError:
        """The error for a file that is in none of the folders, a sentence that helps further."""
        looked = ", ".join(str(place) for place in places)
        return FileNotFoundError(f"{name} of {self.title} is not in {looked}: {self.advice}")

    def _places(self, data_dir: str | os.PathLike | None) -> list[Path]:
        places = [SYSTEM / self.folders[0]]
        if data_dir is not None:
            # The folder itself comes last: its files could be those of a collection whose files
            # have the same names.
            places = [*(Path(data_dir, folder) for folder in self.folders), Path(data_dir), *places]
        return places

    def _first(self, places: list[Path], names: tuple[str, ...]) -> Path:
        for place in places:
            for name in names:
                if (place / name).exists():
                    return place / name
        raise self.missing(" or ".join(names), places)
