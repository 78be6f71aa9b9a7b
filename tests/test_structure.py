"""The rules of the house that need no running code, each with a small tree that breaks it.

A tree is a mapping from paths to texts, so that a check applies to made-up sources as it does to
those of this repository. A check returns its complaints; an empty list is a pass.
"""

import ast
import graphlib
import importlib.util
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Tree = dict[str, str]

LAYERS = (
    (
        "_counts",
        "_custom_types",
        "_frozen",
        "_memory",
        "_params",
        "_random",
        "_results",
        "_rows",
        "_target",
        "_threads",
        "data",
    ),
    ("_black_box", "_guards", "_pieces", "_problem", "_programs", "_wrapper"),
    ("_engine",),
    ("_estimator",),
    (
        "_chains",
        "_check_unbiased",
        "_diagnose",
        "_evaluate",
        "_failure_rate",
        "_limits",
        "_make_step",
        "_optimizer",
        "_records",
        "_reference",
        "_student",
        "_train",
        "_verdict",
    ),
    ("_checkpoint", "_citation", "_describe", "_lines", "_lock", "_run"),
    ("problems", "report"),
    ("__init__", "export", "extend"),
    ("experiments",),
    ("cli",),
)
"""The parts of the library. A part may import its own layer and those before it."""

PLACE = {part: place for place, layer in enumerate(LAYERS) for part in layer}

NEEDS_JAX = {"equinox", "jax", "jaxlib", "jaxtyping", "optax"}

GONE = {
    "jax.abstract_arrays",
    "jax.device_put_replicated",
    "jax.device_put_sharded",
    "jax.experimental.enable_x64",
    "jax.experimental.host_callback",
    "jax.experimental.maps",
    "jax.experimental.pjit",
    "jax.experimental.shard_map",
    "jax.lax.pvary",
    "jax.lib.xla_bridge",
    "jax.linear_util",
    "jax.pmap",
    "jax.sharding.PositionalSharding",
    "jax.sharding.use_mesh",
    "jax.tree_flatten",
    "jax.tree_leaves",
    "jax.tree_map",
    "jax.tree_structure",
    "jax.tree_unflatten",
    "jax.xla_computation",
    "jnp.clip(a_max=)",
    "jnp.clip(a_min=)",
}
"""Names that a newer JAX no longer has, or is about to drop."""

MAX_LINES = 400

HOME = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|work)/\w")


def python(tree: Tree, under: str = "") -> Iterator[tuple[str, ast.Module]]:
    """The parsed Python files of a folder."""
    for path, text in sorted(tree.items()):
        if path.startswith(under) and path.endswith(".py"):
            yield path, ast.parse(text, path)


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
    if importer == other or importer == "report":
        return importer == other
    return PLACE[other] <= PLACE["_problem" if importer == "problems" else importer]


def check_layers(tree: Tree) -> list[str]:
    """Imports point one way, and the report needs nothing of the library."""
    complaints = []
    for path, source in python(tree, "src/unspool/"):
        importer = path.split("/")[2].removesuffix(".py")
        if importer not in PLACE:
            complaints.append(f"{path} has no place in LAYERS")
            continue
        for name in imported(path, source):
            top = name.partition(".")[0]
            needs_jax = importer == "report" and top in NEEDS_JAX
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
        if not path.endswith("/__init__.py"):
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


def check_length(tree: Tree) -> list[str]:
    """No file of the library is too long to be read in one go."""
    lengths = {path: len(tree[path].splitlines()) for path, _ in python(tree, "src/")}
    return [f"{path} has {n} lines" for path, n in lengths.items() if n > MAX_LINES]


def check_broadcasting(tree: Tree) -> list[str]:
    """Estimators leave the axes of arms and workers to `_rows`."""
    complaints = []
    for path, source in python(tree, "src/unspool/_estimator/"):
        hints = [getattr(node, "annotation", None) for node in ast.walk(source)]
        hints += [getattr(node, "returns", None) for node in ast.walk(source)]
        # `dict[str, None]` in a signature is a type, not a new axis.
        types = {id(part) for hint in hints if hint for part in ast.walk(hint)}
        for node in ast.walk(source):
            name = getattr(node, "attr", getattr(node, "id", None))
            if name in {"expand_dims", "newaxis", "reshape"}:
                complaints.append(f"{path}:{node.lineno} {name}")
            if isinstance(node, ast.Subscript) and id(node) not in types:
                index = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                if any(isinstance(i, ast.Constant) and i.value is None for i in index):
                    complaints.append(f"{path}:{node.lineno} {ast.unparse(node)}")
    return sorted(complaints)


def check_jax_names(tree: Tree) -> list[str]:
    """No Python file uses what a newer JAX lacks."""
    complaints = []
    for path, source in python(tree):
        for node in ast.walk(source):
            found = []
            if isinstance(node, ast.Attribute):
                found = [ast.unparse(node)]
            elif isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "jnp.clip":
                found = [f"jnp.clip({keyword.arg}=)" for keyword in node.keywords]
            complaints += [f"{path}:{node.lineno} {name}" for name in found if name in GONE]
    return sorted(complaints)


def check_paths(tree: Tree) -> list[str]:
    """No file names a folder of the machine that it was written on."""
    return [
        f"{path}:{number} {line.strip()}"
        for path, text in tree.items()
        for number, line in enumerate(text.splitlines(), 1)
        if HOME.search(line)
    ]


def check_lock(tree: Tree) -> list[str]:
    """The lock names no index, and every dependency that the project declares."""
    lock, project = tree["requirements.lock"], tomllib.loads(tree["pyproject.toml"])["project"]
    complaints = [f"the lock holds {line}" for line in lock.splitlines() if "://" in line]
    groups = project.get("optional-dependencies", {}).values()
    for dependency in [*project["dependencies"], *(name for group in groups for name in group)]:
        name = re.split(r"[^\w.-]", dependency, maxsplit=1)[0]
        if not re.search(rf"^{re.escape(name)}==", lock, re.MULTILINE):
            complaints.append(f"the lock lacks {name}: run make lock")
    return complaints


PROJECT = '[project]\ndependencies = ["jax>=0.10"]\noptional-dependencies.dev = ["a-b[c]>=1"]\n'

BROKEN = {
    check_layers: (
        {
            "src/unspool/__init__.py": "from ._engine import Engine",
            "src/unspool/_engine/__init__.py": "from .local import Engine",
            "src/unspool/_engine/local.py": "def f():\n    from .._run import Run",
            "src/unspool/_estimator/nres.py": "import unspool\nfrom .._engine import Engine",
            "src/unspool/_run.py": "from . import _engine",
            "src/unspool/_stray.py": "",
            "src/unspool/cli/train.py": "from .. import Engine\nfrom ..report import page",
            "src/unspool/problems/lorenz.py": "from .. import _random\nfrom .._run import Run",
            "src/unspool/report/page.py": "from . import read\nimport jax.numpy\nimport unspool",
            "src/unspool/report/read.py": "import json",
        },
        [
            "src/unspool/_engine/local.py imports unspool._run.Run",
            "src/unspool/_estimator/nres.py imports unspool",
            "src/unspool/_stray.py has no place in LAYERS",
            "src/unspool/problems/lorenz.py imports unspool._run.Run",
            "src/unspool/report/page.py imports jax.numpy",
            "src/unspool/report/page.py imports unspool",
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
            "src/unspool/__init__.py": '"""Docs."""\nfrom ._a import A as A, B\nfrom .b import c',
            "src/unspool/cli/__init__.py": "import os\n__all__ = ['b', 'A']",
            "src/unspool/data/__init__.py": "from .b import b\nfrom .a import a",
            "src/unspool/report/__init__.py": "from .a import run, Run",
        },
        [
            "src/unspool/cli/__init__.py:1 is not a re-export",
            "src/unspool/cli/__init__.py:2 __all__ is out of order",
            "src/unspool/data/__init__.py is out of order",
            "src/unspool/report/__init__.py:1 is out of order",
        ],
    ),
    check_length: (
        {"src/unspool/a.py": "x = 1\n" * 401, "src/unspool/b.py": "x = 1\n" * 400},
        ["src/unspool/a.py has 401 lines"],
    ),
    check_broadcasting: (
        {
            "src/unspool/_estimator/a.py": (
                "def f(x: tuple[int, None]) -> dict[str, None]:\n"
                "    y = x[:, None] + x[None]\n"
                "    return jnp.expand_dims(x.reshape(1), 0)\n"
            ),
            "src/unspool/_rows.py": "y = x[None]",
        },
        [
            "src/unspool/_estimator/a.py:2 x[:, None]",
            "src/unspool/_estimator/a.py:2 x[None]",
            "src/unspool/_estimator/a.py:3 expand_dims",
            "src/unspool/_estimator/a.py:3 reshape",
        ],
    ),
    check_jax_names: (
        {
            "examples/a.py": (
                "from jax.experimental.shard_map import shard_map\n"
                "from jax.experimental import enable_x64\n"
                "jax.tree.map(f, x), jax.tree_map(f, x)\n"
                "jnp.clip(x, 0, 1), jnp.clip(x, a_min=0), np.clip(x, a_min=0)\n"
                "jax.lib.xla_bridge.get_backend()\n"
            )
        },
        [
            "examples/a.py:1 jax.experimental.shard_map",
            "examples/a.py:2 jax.experimental.enable_x64",
            "examples/a.py:3 jax.tree_map",
            "examples/a.py:4 jnp.clip(a_min=)",
            "examples/a.py:5 jax.lib.xla_bridge",
        ],
    ),
    check_paths: (
        {
            # Put together here, or this file would break its own rule.
            "README.md": "see docs/home/a and https://a.b/home/c\n" + "/".join(["", "home", "me"]),
            "Makefile": "cd " + "/".join(["", "work", "main"]),
        },
        ["README.md:2 " + "/".join(["", "home", "me"]), "Makefile:1 cd " + "/work" + "/main"],
    ),
    check_lock: (
        {"pyproject.toml": PROJECT, "requirements.lock": "a-b-c==1\njax==1\n--index https://a.b\n"},
        ["the lock holds --index https://a.b", "the lock lacks a-b: run make lock"],
    ),
}
"""For each check a tree that breaks its rule next to code that keeps it, and the complaints."""


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


@pytest.mark.parametrize("check", BROKEN)
def test_the_repository_keeps_the_rule(check, repository):
    assert check(repository) == []


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_tree_is_caught(check):
    tree, complaints = BROKEN[check]
    assert check(tree) == complaints


@pytest.mark.xdist_group("together")
def test_xdist_is_told_what_belongs_together(request):
    """With pytest 9.2 it is not, and nothing fails: all is only compiled once more."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("tests run in one process")
    assert request.node.nodeid.endswith("@together")
