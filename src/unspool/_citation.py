"""The papers and packages that the library rests on, as BibTeX."""

import importlib.metadata
import inspect
from typing import Any

BIBTEX = {
    "baydin2022": """\
@misc{baydin2022,
  title = {Gradients without Backpropagation},
  author = {Baydin, At{\\i}l{\\i}m G{\\"u}ne{\\c{s}} and Pearlmutter, Barak A. and Syme, Don
    and Wood, Frank and Torr, Philip},
  year = {2022},
  eprint = {2202.08587},
  archiveprefix = {arXiv},
}""",
    "li2023": """\
@inproceedings{li2023,
  title = {Variance-Reduced Gradient Estimation via Noise-Reuse in Online Evolution Strategies},
  author = {Li, Oscar and Harrison, James and Sohl-Dickstein, Jascha and Smith, Virginia and
    Metz, Luke},
  booktitle = {Advances in Neural Information Processing Systems},
  volume = {36},
  year = {2023},
  eprint = {2304.12180},
  archiveprefix = {arXiv},
}""",
    "metz2019": """\
@inproceedings{metz2019,
  title = {Understanding and Correcting Pathologies in the Training of Learned Optimizers},
  author = {Metz, Luke and Maheswaranathan, Niru and Nixon, Jeremy and Freeman, C. Daniel and
    Sohl-Dickstein, Jascha},
  booktitle = {Proceedings of the 36th International Conference on Machine Learning},
  year = {2019},
  eprint = {1810.10180},
  archiveprefix = {arXiv},
}""",
    "salimans2017": """\
@misc{salimans2017,
  title = {Evolution Strategies as a Scalable Alternative to Reinforcement Learning},
  author = {Salimans, Tim and Ho, Jonathan and Chen, Xi and Sidor, Szymon and Sutskever, Ilya},
  year = {2017},
  eprint = {1703.03864},
  archiveprefix = {arXiv},
}""",
    "silver2022": """\
@inproceedings{silver2022,
  title = {Learning by Directional Gradient Descent},
  author = {Silver, David and Goyal, Anirudh and Danihelka, Ivo and Hessel, Matteo and van
    Hasselt, Hado},
  booktitle = {International Conference on Learning Representations},
  year = {2022},
}""",
    "tallec2017": """\
@misc{tallec2017,
  title = {Unbiased Online Recurrent Optimization},
  author = {Tallec, Corentin and Ollivier, Yann},
  year = {2017},
  eprint = {1702.05043},
  archiveprefix = {arXiv},
}""",
    "vicol2021": """\
@inproceedings{vicol2021,
  title = {Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent
    Evolution Strategies},
  author = {Vicol, Paul and Metz, Luke and Sohl-Dickstein, Jascha},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning},
  year = {2021},
  eprint = {2112.13835},
  archiveprefix = {arXiv},
}""",
    "vicol2023": """\
@inproceedings{vicol2023,
  title = {Low-Variance Gradient Estimation in Unrolled Computation Graphs with {ES-Single}},
  author = {Vicol, Paul and Kolter, Zico and Swersky, Kevin},
  booktitle = {Proceedings of the 40th International Conference on Machine Learning},
  year = {2023},
  eprint = {2304.11153},
  archiveprefix = {arXiv},
}""",
    "werbos1990": """\
@article{werbos1990,
  title = {Backpropagation Through Time: What It Does and How to Do It},
  author = {Werbos, Paul J.},
  journal = {Proceedings of the IEEE},
  volume = {78},
  number = {10},
  pages = {1550--1560},
  year = {1990},
}""",
    "williams1989": """\
@article{williams1989,
  title = {A Learning Algorithm for Continually Running Fully Recurrent Neural Networks},
  author = {Williams, Ronald J. and Zipser, David},
  journal = {Neural Computation},
  volume = {1},
  number = {2},
  pages = {270--280},
  year = {1989},
}""",
    "williams1990": """\
@article{williams1990,
  title = {An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
    Trajectories},
  author = {Williams, Ronald J. and Peng, Jing},
  journal = {Neural Computation},
  volume = {2},
  number = {4},
  pages = {490--501},
  year = {1990},
}""",
}
"""An entry for every key that a class names in its `references`."""


def version() -> str:
    """The installed version of the library."""
    try:
        return importlib.metadata.version("unspool")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def references(thing: Any) -> list[str]:
    """The keys of what a class rests on, from its `references` and its docstring."""
    doc = inspect.getdoc(thing) or ""
    named = [key for key, entry in BIBTEX.items() if (arxiv := _arxiv(entry)) and arxiv in doc]
    given = getattr(thing, "references", ())
    return list(dict.fromkeys([*given, *named]))


def cite(*names: str) -> str:
    """BibTeX of unspool itself and of the papers with these keys, each once.

    **Raises:** `ValueError` for a key that is not in `BIBTEX`.
    """
    for name in names:
        if name not in BIBTEX:
            raise ValueError(f"there is no reference {name!r}; there are: {', '.join(BIBTEX)}")
    own = f"""\
@misc{{unspool,
  title = {{unspool: unbiased gradients through long unrolled computations}},
  author = {{{{The unspool authors}}}},
  note = {{Version {version()}}},
}}"""
    return "\n\n".join([own, *(BIBTEX[name] for name in dict.fromkeys(names))])


def _arxiv(entry: str) -> str:
    return entry.partition("eprint = {")[2].partition("}")[0]
