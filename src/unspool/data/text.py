"""Plain text of your own."""

import os
from pathlib import Path


def text(path: str | os.PathLike) -> str:
    r"""Reads a text file, a book for instance, with line feeds for all line ends.

    **Arguments:** `path`, a file of plain text in UTF-8.

    **Returns:** the text as one string.

    **Raises:** `ValueError` for a file that is empty or not in UTF-8; `FileNotFoundError` for a
    missing file.

    **Example:**

    >>> from pathlib import Path
    >>> from unspool import data
    >>> size = Path("book.txt").write_bytes(b"Call me\r\nIshmael.\r\n")
    >>> data.text("book.txt")
    'Call me\nIshmael.\n'
    """
    try:
        # Not to be told from the text: some editors begin a file with an invisible mark.
        content = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} must be text in UTF-8, got the byte {error.object[error.start]:#04x} at "
            f"{error.start} (counted from 0); save it once more in UTF-8"
        ) from error
    if not content:
        raise ValueError(f"{path} must have at least 1 character, got none")
    return content
