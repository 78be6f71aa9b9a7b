"""The examples in docstrings print what they say, and every public function has one.

An example finds `unspool`, `jax`, `jnp` and `optax` imported. It runs in a directory of its own,
which is empty but for a folder `downloads`: there small files stand for those of published data
sets. One that is headed "after that of `name`" goes on where the example of that name ends.
"""

import doctest
import importlib
import inspect
import io
import pkgutil
import re

import jax
import jax.numpy as jnp
import optax
import pytest

import unspool
from support.data_files import write_folder, write_idx
from support.slow import slow

PACKAGES = [
    found.name
    for found in pkgutil.walk_packages(unspool.__path__, "unspool.")
    if found.ispkg and "._" not in found.name
]
PUBLIC = {
    f"{module.__name__}.{name}": thing
    for module in map(importlib.import_module, ["unspool", "unspool.extend", *PACKAGES])
    for name, thing in inspect.getmembers(module)
    if not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing))
}
MADE = unspool.AbstractEstimator, unspool.AbstractEngine, unspool.extend.AbstractDirections
"""The bases of what a user makes and hands on."""

NO_EXAMPLE = {"unspool.RayEngine"}
"""Needs a cluster, or seconds to start one."""

RIDDLE = re.compile(r"(What|Whether|How|Where|Who|To|All that)\b")


@pytest.fixture(autouse=True)
def cache_as_it_was(monkeypatch):
    """Examples that change where JAX keeps programs do so for themselves alone."""
    names = "compilation_cache_dir", "compilation_cache_max_size"
    kept = {f"jax_{name}": getattr(jax.config, f"jax_{name}") for name in names}
    for name in kept:
        monkeypatch.setenv(name.upper(), "")
        monkeypatch.delenv(name.upper())
    yield
    for name, value in kept.items():
        jax.config.update(name, value)


def example_of(name: str, thing: object) -> doctest.DocTest:
    """What a docstring shows, without what it goes on from."""
    (test,) = doctest.DocTestFinder(recurse=False, exclude_empty=False).find(thing, name, globs={})
    return test


def chain(name: str) -> list[doctest.DocTest]:
    """The examples that have to run one after the other, with that of this name as the last."""
    test = example_of(name, PUBLIC[name])
    before = re.search(r"^ *\*\*Example\*\*, after that of `(.*)`:$", test.docstring or "", re.M)
    if before is None:
        return [test]
    here = f"{name.rpartition('.')[0]}.{before[1]}"
    return [*chain(here if here in PUBLIC else before[1]), test]


def complaints(tests: list[doctest.DocTest]) -> str:
    """Runs examples with what a reader has imported, and returns what they got wrong."""
    names = {"__name__": "example", "unspool": unspool, "jax": jax, "jnp": jnp, "optax": optax}
    runner, out = doctest.DocTestRunner(verbose=False), io.StringIO()
    for test in tests:
        test.globs = names
        runner.run(test, out=out.write, clear_globs=False)
    return out.getvalue()


EXAMPLES = [name for name, thing in PUBLIC.items() if example_of(name, thing).examples]


# The example of `resume_comparison` begins with the first; the other is a long test of bias.
LONG = "unspool.compare", "unspool.LowRankUORO"


@pytest.mark.parametrize("name", [slow(name, when=name in LONG) for name in EXAMPLES])
def test_an_example_prints_what_it_says(name, tmp_path, monkeypatch):
    write_idx(tmp_path / "downloads")
    write_folder(tmp_path / "downloads")
    monkeypatch.chdir(tmp_path)
    assert complaints(chain(name)) == ""


def test_what_a_user_calls_or_makes_has_an_example():
    wanted = {
        name
        for name, thing in PUBLIC.items()
        if inspect.isfunction(thing)
        or (issubclass(thing, MADE) and not thing.__name__.startswith("Abstract"))
    }
    assert {"unspool.train", "unspool.extend.as_sigma", "unspool.data.csv"} < wanted
    assert wanted - set(EXAMPLES) == NO_EXAMPLE
    assert not any(example.options for name in EXAMPLES for example in chain(name)[-1].examples)


def test_docstrings_begin_with_a_verb_or_a_noun():
    firsts = {name: inspect.getdoc(thing) for name, thing in PUBLIC.items()}
    assert [name for name, first in firsts.items() if RIDDLE.match(first or "What")] == []
    assert RIDDLE.match("What an update is made with.") and not RIDDLE.match("Totals of rows.")


def test_an_example_that_prints_something_else_is_reported():
    def double(x):
        """Twice a number.

        >>> jnp.asarray(2.0).item() * 2
        5.0
        """

    assert "Expected:\n    5.0\nGot:\n    4.0" in complaints([example_of("double", double)])

    def fail(x):
        """An error.

        >>> unspool.NRES(num_workers=0, window=1, sigma=0.1)
        """

    assert "num_workers must be" in complaints([example_of("fail", fail)])
