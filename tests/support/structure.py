"""The texts of this repository, and the Python files among them, for the rules of the house."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Tree = dict[str, str]
"""Texts by path, made up or of this repository. A check of one returns a list of complaints."""


def python(tree: Tree, under: str = "") -> Iterator[tuple[str, ast.Module]]:
    """The parsed Python files of a folder."""
    for path, text in sorted(tree.items()):
        if path.startswith(under) and path.endswith(".py"):
            yield path, ast.parse(text, path)


@pytest.fixture(scope="module")
def repository() -> Tree:
    """The texts that a commit of everything here would hold."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a git checkout tells the project's files from others")
    # Whoever owns the checkout: in a container it is often somebody else.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    texts = {}
    for path in filter(None, listed.split("\0")):
        try:
            texts[path] = (ROOT / path).read_text(encoding="utf-8")
        except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError):
            # Deleted but not yet committed, a link to a folder, or no text.
            continue
    return texts
