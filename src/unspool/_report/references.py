"""The papers behind what was run, with links."""

import re
from typing import NamedTuple

from .._citation import bibtex
from ..records import Study

_ARCHIVE = "https://arxiv.org/abs/"


class Paper(NamedTuple):
    """A paper in words, and where it is to be found, if that is known."""

    text: str
    link: str


def papers_of(study: Study) -> list[Paper]:
    """The papers that the experiment and its estimators rest on, each once."""
    known = bibtex()
    keys: list[str] = []
    if study.experiment:
        source = study.experiment.source
        for key, entry in known.items():
            number = _field(entry, "eprint")
            keys += [key] if number and number in source else []
    keys += [key for run in study.runs for key in run.config.references]
    return [_paper(known[key]) for key in dict.fromkeys(keys) if key in known]


def _paper(entry: str) -> Paper:
    authors = [name.partition(",")[0] for name in re.split(r"\s+and\s+", _field(entry, "author"))]
    several = f"{authors[0]} et al." if len(authors) > 2 else " and ".join(authors)
    venue = _field(entry, "booktitle") or _field(entry, "journal")
    number = _field(entry, "eprint")
    parts = [f"{several} ({_field(entry, 'year')})", _field(entry, "title"), venue]
    parts += [f"arXiv {number}"] if number else []
    return Paper(", ".join(filter(None, parts)), _ARCHIVE + number if number else "")


def _field(entry: str, name: str) -> str:
    """The value of a field of a BibTeX entry, in plain text; empty if there is none."""
    found = re.search(rf"^  {name} = {{(.*?)}},?$", entry, re.MULTILINE | re.DOTALL)
    text = re.sub(r"\s+", " ", found[1]) if found else ""
    return _plain(text)


def _plain(text: str) -> str:
    """Text without TeX's braces and accents."""
    accents = {r"{\i}": "ı", r"{\"u}": "ü", r"{\c{s}}": "ş"}
    for accent, letter in accents.items():
        text = text.replace(accent, letter)
    return text.replace("{", "").replace("}", "")
