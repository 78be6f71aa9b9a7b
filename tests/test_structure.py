"""The rules of the house that need no running code, each with a small tree that breaks it."""

import ast
import re
import statistics
import tomllib

import pytest

from support import import_rules, structure
from support.structure import Tree, python

repository = structure.repository

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
KERNEL = "src/unspool/_engine/", "src/unspool/_estimator/"
MAX_FUNCTION, MAX_MEDIAN = 40, 120
"""Lines of a function, and of half of the files, where the mathematics is."""

HOME = re.compile(r"(?<![\w.~/-])/(?:home|root|Users|work)/\w")


def check_length(tree: Tree) -> list[str]:
    """No file of the library or of its tests is too long to be read in one go."""
    files = [*python(tree, "src/"), *python(tree, "tests/")]
    lengths = {path: len(tree[path].splitlines()) for path, _ in files}
    return [f"{path} has {n} lines" for path, n in lengths.items() if n > MAX_LINES]


def check_kernel_sizes(tree: Tree) -> list[str]:
    """Functions of kernels and engines fit on a screen, and so do most of their files."""
    files = [each for folder in KERNEL for each in python(tree, folder)]
    complaints = [
        f"{path}:{node.lineno} {node.name} has {length} lines"
        for path, source in files
        for node in ast.walk(source)
        if isinstance(node, ast.FunctionDef)
        and (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION
    ]
    median = statistics.median(len(tree[path].splitlines()) for path, _ in files)
    return complaints + [f"half of the files have {median:g} lines"] * (median >= MAX_MEDIAN)


def check_privacy(tree: Tree) -> list[str]:
    """No private attribute of another object is touched in the library."""
    return [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path, source in python(tree, "src/")
        for node in ast.walk(source)
        if isinstance(node, ast.Attribute)
        and re.match(r"_(?!_|replace$|asdict$|fields$)", node.attr)
        and not re.fullmatch(r"self|cls|super\(\)", ast.unparse(node.value))
    ]


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
    check_length: (
        {
            "src/unspool/a.py": "x = 1\n" * 401,
            "src/unspool/b.py": "x = 1\n" * 400,
            "tests/test_a.py": "x = 1\n" * 402,
        },
        ["src/unspool/a.py has 401 lines", "tests/test_a.py has 402 lines"],
    ),
    check_kernel_sizes: (
        {
            "src/unspool/_engine/a.py": "def f():\n" + "    x = 1\n" * 40,
            "src/unspool/_estimator/a.py": "def f():\n" + "    x = 1\n" * 39 + "x = 1\n" * 200,
            "src/unspool/a.py": "def f():\n" + "    x = 1\n" * 40,
        },
        ["src/unspool/_engine/a.py:1 f has 41 lines", "half of the files have 140.5 lines"],
    ),
    check_privacy: (
        {
            "src/unspool/a.py": (
                "self._x, cls._x, super()._x, y._replace(z=1), y.__doc__\ny._x, f()._z"
            )
        },
        ["src/unspool/a.py:2 y._x", "src/unspool/a.py:2 f()._z"],
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
} | import_rules.BROKEN
"""For each check a tree that breaks its rule next to code that keeps it, and the complaints."""


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
