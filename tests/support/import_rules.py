"""Which file of the library may import which: rules, each with a small tree that breaks it."""

import ast
import graphlib
import importlib.util

from support.structure import Tree, python

LAYERS = (
    ("_statistics", "records"),
    (
        "_cache",
        "_counts",
        "_custom_types",
        "_episodes",
        "_frozen",
        "_lazy",
        "_memory",
        "_params",
        "_random",
        "_reduce_rank",
        "_results",
        "_rows",
        "_show",
        "_small_svd",
        "_target",
        "_threads",
        "data",
    ),
    ("_black_box", "_guards", "_immediate", "_pieces", "_problem", "_programs", "_wrapper"),
    ("_engine",),
    ("_joint",),
    ("_estimator",),
    (
        "_chains",
        "_check_unbiased",
        "_diagnose",
        "_drift",
        "_evaluate",
        "_failure_rate",
        "_limits",
        "_make_step",
        "_meter",
        "_optimizer",
        "_progress",
        "_reference",
        "_student",
        "_train",
        "_updates",
        "_verdict",
    ),
    (
        "_best",
        "_checkpoint",
        "_citation",
        "_describe",
        "_lines",
        "_lock",
        "_logger",
        "_run",
        "_run_files",
    ),
    ("_report", "problems"),
    ("__init__", "_config", "_exports", "export", "extend", "log"),
    ("experiments",),
    ("_study_exports", "plot"),
    ("cli",),
)
"""The parts of the library. A part may import its own layer and those before it."""

FURTHER = {("__init__", "_study_exports")}
"""Exceptions: the package loads the calls that build on all else when one of them is asked for."""

PLACE = {part: place for place, layer in enumerate(LAYERS) for part in layer}

WITHOUT_JAX = {
    "records": {"records"},
    "_statistics": {"_statistics", "records"},
    "_citation": {"_citation"},
    "_report": {"_citation", "_report", "_statistics", "records"},
}
"""The parts that need no JAX, and which they may import."""

LAZY = {"src/unspool/__init__.py", "src/unspool/experiments/__init__.py"}

NEEDS_JAX = {"equinox", "jax", "jaxlib", "jaxtyping", "optax"}


def module_name(path: str) -> str:
    """The dotted name by which a file under `src` is imported."""
    path = path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
    return path.replace("/", ".")


def imported(path: str, source: ast.Module) -> list[str]:
    """The dotted names of all that a file imports, functions' own imports included."""
    name = module_name(path)
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    names = []
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def part_of(name: str) -> str:
    """The part that a dotted name of the library lies in; what is in none is the package's own."""
    part = [*name.split("."), ""][1]
    return part if part in PLACE else "__init__"


def may_import(importer: str, other: str) -> bool:
    """Whether one part may import another."""
    if importer in WITHOUT_JAX:
        return other in WITHOUT_JAX[importer]
    if importer == other or (importer, other) in FURTHER:
        return True
    return PLACE[other] <= PLACE["_problem" if importer == "problems" else importer]


def check_layers(tree: Tree) -> list[str]:
    """Imports point one way, and what is read and reported needs no JAX."""
    complaints = []
    for path, source in python(tree, "src/unspool/"):
        importer = path.split("/")[2].removesuffix(".py")
        if importer not in PLACE:
            complaints.append(f"{path} has no place in LAYERS")
            continue
        for name in imported(path, source):
            top = name.partition(".")[0]
            needs_jax = importer in WITHOUT_JAX and top in NEEDS_JAX
            if needs_jax or (top == "unspool" and not may_import(importer, part_of(name))):
                complaints.append(f"{path} imports {name}")
    return complaints


def check_cycles(tree: Tree) -> list[str]:
    """No two files of the library need one another."""
    sources = {module_name(path): (path, source) for path, source in python(tree, "src/")}
    needs = {}
    for module, (path, source) in sources.items():
        needs[module] = set()
        for name in imported(path, source):
            while name and name not in sources:
                name = name.rpartition(".")[0]
            if name not in {"", module}:
                needs[module].add(name)
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return ["a cycle of " + ", ".join(sorted(set(error.args[1])))]
    return []


def check_exports(tree: Tree) -> list[str]:
    """An `__init__.py` holds re-exports in alphabetical order and nothing else."""
    complaints = []
    for path, source in python(tree, "src/"):
        if path in LAZY:
            continue  # It loads `_exports.py` when a name is asked for.
        if not path.endswith(("/__init__.py", "exports.py")):
            continue
        modules = []
        for node in source.body:
            if isinstance(node, ast.ImportFrom) and node.level:
                modules.append((node.module or "").casefold())
                names = [alias.name for alias in node.names]
                if names != sorted(names, key=ruff_order):
                    complaints.append(f"{path}:{node.lineno} is out of order")
            elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                if list(names) != sorted(names, key=str.casefold):
                    complaints.append(f"{path}:{node.lineno} __all__ is out of order")
            elif node is not source.body[0] or ast.get_docstring(source) is None:
                complaints.append(f"{path}:{node.lineno} is not a re-export")
        if modules != sorted(modules):
            complaints.append(f"{path} is out of order")
    return complaints


def ruff_order(name: str) -> tuple[bool, bool, str]:
    """Ruff's order within an import: constants, then classes, then the rest."""
    return not name.isupper(), not name[0].isupper(), name.casefold()


BROKEN = {
    check_layers: (
        {
            "src/unspool/_exports.py": "from ._engine import Engine",
            "src/unspool/_engine/__init__.py": "from .local import Engine",
            "src/unspool/_engine/local.py": "def f():\n    from .._run import Run",
            "src/unspool/_estimator/nres.py": "import unspool\nfrom .._engine import Engine",
            "src/unspool/_run.py": "from . import _engine",
            "src/unspool/_statistics/intervals.py": "from ..records import Chart\nimport optax",
            "src/unspool/_stray.py": "",
            "src/unspool/cli/train.py": "from .. import Engine\nfrom .._report import page",
            "src/unspool/problems/lorenz.py": "from .. import _random\nfrom .._run import Run",
            "src/unspool/records/chart.py": "import json\nfrom .._statistics import intervals",
            "src/unspool/_report/page.py": "from ..records import Chart\nimport jax.numpy, unspool",
        },
        [
            "src/unspool/_engine/local.py imports unspool._run.Run",
            "src/unspool/_estimator/nres.py imports unspool",
            "src/unspool/_report/page.py imports jax.numpy",
            "src/unspool/_report/page.py imports unspool",
            "src/unspool/_statistics/intervals.py imports optax",
            "src/unspool/_stray.py has no place in LAYERS",
            "src/unspool/problems/lorenz.py imports unspool._run.Run",
            "src/unspool/records/chart.py imports unspool._statistics.intervals",
        ],
    ),
    check_cycles: (
        {
            "src/unspool/_engine/__init__.py": "from .base import Base",
            "src/unspool/_engine/base.py": "from . import local",
            "src/unspool/_engine/local.py": "from .base import Base",
            "src/unspool/_run.py": "from ._engine import Base",
        },
        ["a cycle of unspool._engine.base, unspool._engine.local"],
    ),
    check_exports: (
        {
            "src/unspool/_exports.py": '"""Docs."""\nfrom ._a import A as A, B\nfrom .b import c',
            "src/unspool/cli/__init__.py": "import os\n__all__ = ['b', 'A']",
            "src/unspool/data/__init__.py": "from .b import b\nfrom .a import a",
            "src/unspool/_report/__init__.py": "from .a import run, Run",
        },
        [
            "src/unspool/_report/__init__.py:1 is out of order",
            "src/unspool/cli/__init__.py:1 is not a re-export",
            "src/unspool/cli/__init__.py:2 __all__ is out of order",
            "src/unspool/data/__init__.py is out of order",
        ],
    ),
}
"""For each check a tree that breaks its rule next to code that keeps it, and the complaints."""
