"""The docs hold: every name is listed as it is, code runs, links lead somewhere.

All ```python blocks of a page run in order, in one namespace. Code that is not to be run goes into
a ```py block.
"""

import ast
import inspect
import json
import re
import runpy
import shlex
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import unspool
from support.slow import slow
from unspool import _exports, _study_exports, data, export, log, plot, problems, records
from unspool.cli.__main__ import COMMANDS
from unspool.cli.compare import parse_compare_config
from unspool.cli.parts import split_words
from unspool.cli.train_config import parse_train_config
from unspool.problems import control, learned_optimizer, schedules

ROOT = Path(__file__).parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README.md")])
REFERENCE = ROOT / "docs" / "reference.md"
# Meta-trained once more by an example and by the tests of what it is used for.
SLOW = {"comparing.md", "learned-optimizers.md", "simulators.md", "tuning.md"}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
    """What is compiled here is of no use to other tests, and takes memory."""
    yield
    jax.clear_caches()


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def exported(module) -> dict[str, object]:
    """What a package's `__init__.py` imports by name, or what a module of functions defines."""
    if module is unspool:
        return exported(_exports) | exported(_study_exports)
    source = ast.parse(Path(module.__file__).read_text())
    imports = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    names = [alias.asname or alias.name for node in imports for alias in node.names]
    if not module.__file__.endswith(("__init__.py", "exports.py")):
        names = [node.name for node in source.body if isinstance(node, ast.FunctionDef)]
    return {name: getattr(module, name) for name in names if not name.startswith("_")}


def call(name: str, thing: object) -> str:
    """A name with its arguments and their defaults, as the reference writes it."""
    enumeration = isinstance(thing, type) and issubclass(thing, eqx.Enumeration)
    error = isinstance(thing, type) and issubclass(thing, Exception)
    if inspect.ismodule(thing) or inspect.isabstract(thing) or enumeration or error:
        return name
    # A metaclass that takes (*args, **kwargs) hides the signature of an equinox class.
    is_module = isinstance(thing, type) and issubclass(thing, eqx.Module)
    signature = inspect.signature(thing.__init__ if is_module else thing)
    words, star = [], False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            words, star = [*words, f"*{parameter.name}"], True
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not star:
            words, star = [*words, "*"], True
        default = parameter.default
        shown = getattr(default, "__name__", repr(default))
        given = default is not inspect.Parameter.empty
        words.append(f"{parameter.name}={shown}" if given else parameter.name)
    return f"{name}({', '.join(words)})"


def listed(section: str) -> dict[str, str]:
    """The rows of the tables under a heading: the code in the first cell, and the rest."""
    _, _, text = REFERENCE.read_text().partition(f"\n## {section}\n")
    text = text.partition("\n## ")[0]
    return dict(re.findall(r"^\| `(.*?)` \| (.*) \|$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "module",
    [unspool, problems, control, schedules, learned_optimizer, data, export, log, plot, records],
    ids=lambda module: module.__name__,
)
def test_the_reference_lists_every_public_name_as_it_is(module):
    rows = listed(module.__name__)
    assert sorted(rows) == sorted(call(name, thing) for name, thing in exported(module).items())
    assert all(len(description) > 10 for description in rows.values())


def test_a_name_that_is_missing_or_changed_would_be_seen():
    assert call("TBPTT", unspool.TBPTT) == "TBPTT(num_workers, window)"
    assert call("evaluate", unspool.evaluate) == "evaluate(problem, params, *, key, num_episodes=1)"
    assert call("RunError", unspool.RunError) == "RunError"
    assert "TBPTT(num_workers, window)" in listed("unspool")
    assert "TBPTT(num_workers)" not in listed("unspool")


PARSED = "compare", "train"
"""The commands whose options depend on what they name, which is looked up."""

VERDICTS = {"extending.md": ["True", "False", "True", "True", "True"]}
"""What pages print of tests of estimators: all pass but one against a wrong gradient."""


@pytest.mark.parametrize(
    "page",
    [slow(page, when=page.name in SLOW) for page in PAGES],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"docs_{page.stem.replace('-', '_')}"}
    for number, text in enumerate(blocks(page, "python"), 1):
        exec(compile(text, f"{page.name}, block {number}", "exec"), namespace)
    lines = capsys.readouterr().out.splitlines()
    verdicts = [line.split()[0] for line in lines if line.startswith(("True", "False"))]
    assert verdicts == VERDICTS.get(page.name, verdicts)


def test_the_quickstart_shows_the_problem_of_the_example():
    example = (ROOT / "examples" / "user_problem.py").read_text()
    problem, _, _ = example[example.index("def swing") :].partition("\n\ndef main")
    assert problem in blocks(ROOT / "docs" / "quickstart.md", "python")[0] + "\n"


def commands(page: Path) -> list[list[str]]:
    text = "\n".join(blocks(page, "sh", "bash", "shell", "console")).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith("unspool ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_can_be_given(page, tmp_path):
    for _, name, *words in commands(page):
        assert name in COMMANDS or name.startswith("-")
        if name not in PARSED or words[0].startswith("-") or "--help" in words:
            continue
        file, _, problem = words[0].partition(":")
        if file.endswith(".py"):
            if (ROOT / file).exists():
                words[0] = f"{ROOT / file}:{problem}"
            else:
                source = [t for t in blocks(page, "python") if f"class {problem}(" in t]
                assert source, f"{page.name} trains {words[0]} and does not show it"
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                inner = re.search(r"write_text\('''(.*?)'''\)", source[0], re.DOTALL)
                (tmp_path / file).write_text(inner[1] if inner else source[0])
        if name == "compare":
            parse_compare_config(*split_words(words, len(words)), tmp_path)
        else:
            unspool.build_training(parse_train_config(words, tmp_path).config, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page):
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if not re.match(r"\w+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_every_page_and_example_is_on_the_map():
    index = (ROOT / "docs" / "index.md").read_text()
    wanted = [f"({page.name})" for page in PAGES if page.name not in ("index.md", "README.md")]
    wanted += [f"({notebook.name})" for notebook in (ROOT / "docs").glob("*.ipynb")]
    wanted += [f"(../examples/{example.name})" for example in EXAMPLES]
    assert [link for link in wanted if link not in index] == []


def run_example(name: str):
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"))["main"]()


def test_every_example_is_tested():
    source = Path(__file__).read_text()
    assert [e.stem for e in EXAMPLES if f'run_example("{e.stem}")' not in source] == []


def test_example_user_problem():
    length, friction, loss = run_example("user_problem")
    # The noise alone has a loss of 0.0004; smoothing moves the optimum by less than the rest.
    assert abs(length - 1.0) < 0.05
    assert abs(friction - 0.2) < 0.05
    assert loss < 0.01


@pytest.mark.slow
def test_example_reorder_level():
    losses = run_example("reorder_level")
    # An empty shop pays 2 for the order and 5 for each customer, every day.
    assert losses["BPTT"] == pytest.approx(7.0, abs=0.1)
    # The best of a grid of levels is 0.82.
    assert losses["NRES"] < 0.85


def test_example_make_step_loop():
    losses = run_example("make_step_loop")
    assert losses["averaged"] < losses["last"] < losses["start"]


@pytest.mark.slow
def test_example_tune_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    losses = run_example("tune_training")
    assert losses[-1] < 0.5 * losses[0]
    assert export.load_schedules("tuned.json")["learning_rate"](0) > 3e-3


@pytest.mark.slow
def test_example_own_simulator():
    before, after, _ = run_example("own_simulator")
    # Constant power costs 1.79, a schedule chosen by hand 0.53.
    assert before > 1.5 and after < 0.6


def test_example_bouncing_ball():
    found = run_example("bouncing_ball")
    height, off = found["BPTT"]
    assert height > 1.8 and off > 0.1
    for name in ("NRES", "PES"):
        height, off = found[name]
        assert abs(height - 1.1) < 0.05 and off < 0.03


@pytest.mark.slow
def test_example_meta_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, after, *_ = run_example("meta_train")
    assert after < before - 0.2
    assert export.read_optimizer("optimizer.safetensors").optimizer.hidden == (8,)


def test_example_own_estimator():
    tests = run_example("own_estimator")
    assert tests["promised"].passed
    assert not tests["truncated"].passed


@pytest.mark.slow
def test_example_own_optimizer():
    (start, end), before, after = run_example("own_optimizer")
    assert start.loss > 2 > 1 > end.loss and after < before / 2
    assert len((ROOT / "examples" / "own_optimizer.py").read_text().splitlines()) < 80


def test_the_picture_shows_the_closed_forms():
    """The curves of the picture have the gradients that the library compares estimators with."""
    pytest.importorskip("matplotlib")
    drawing = runpy.run_path(str(ROOT / "docs" / "smoothing.py"))
    horizon, sigma = drawing["HORIZON"], drawing["SIGMA"]
    problem = problems.CosineAccumulator(horizon, drawing["FREQUENCY"])
    targets = [unspool.Target(), unspool.Target(sigma=sigma), unspool.Target(None, 1, sigma)]
    step = 1e-4
    low, high = drawing["objectives"](0.3 - step), drawing["objectives"](0.3 + step)
    for target, below, above in zip(targets, low.values(), high.values(), strict=True):
        exact = problem.exact_gradient(jnp.array(0.3), target)
        assert ((above - below) / (2 * step)).item() == pytest.approx(exact.item(), rel=1e-5)


def test_the_first_picture_is_drawn_of_the_numbers_in_the_tree():
    """Every label of the experiment is there, from a start that no axis bends."""
    pytest.importorskip("matplotlib")
    drawing = runpy.run_path(str(ROOT / "docs" / "experiments.py"))
    curves, paths = (
        json.loads((ROOT / "docs" / "data" / f"lorenz-{name}.json").read_text())
        for name in drawing["FIGURES"]["lorenz"]
    )
    figure = drawing["lorenz"](curves, paths)
    above, *below = figure.axes
    labels = [text.get_text() for text in above.get_legend().get_texts()]
    assert labels == ["BPTT", "FullES", "NRES", "PES", "TBPTT", "TES"]
    assert [axes.get_title(loc="left") for axes in below[:6]] == labels
    looks = {(line.get_color(), line.get_marker()) for line in above.lines}
    assert len(looks) == 6 and above.get_xscale() == "log"
    assert all(line.get_xdata().min() > 0 for line in above.lines)
    assert above.get_title(loc="left") == "before the first step: 312"
