"""The directories in which files of published data are searched for."""

import os
from pathlib import Path
from typing import NamedTuple

SYSTEM_DIRECTORY = Path("/usr/share/datasets")
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
        directories = self._directories(data_dir)
        for directory in directories:
            if any((directory / name).exists() for names in files for name in names):
                directories = [directory]
                break
        return [self._first(directories, names) for names in files]

    def missing(self, name: str, directories: list[Path]) -> FileNotFoundError:
        """The error for a file that is in none of the folders, a sentence that helps further."""
        looked = ", ".join(str(directory) for directory in directories)
        return FileNotFoundError(f"{name} of {self.title} is not in {looked}: {self.advice}")

    def _directories(self, data_dir: str | os.PathLike | None) -> list[Path]:
        directories = [SYSTEM_DIRECTORY / self.folders[0]]
        if data_dir is not None:
            # The folder itself comes last: its files could be those of a collection whose files
            # have the same names.
            own = [*(Path(data_dir, folder) for folder in self.folders), Path(data_dir)]
            directories = [*own, *directories]
        return directories

    def _first(self, directories: list[Path], names: tuple[str, ...]) -> Path:
        for directory in directories:
            for name in names:
                if (directory / name).exists():
                    return directory / name
        raise self.missing(" or ".join(names), directories)
