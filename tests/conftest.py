"""One setting for every test: four fake devices, float32, no silent broadcasting, checked shapes.

JAX reads its settings when it is first imported, so they stand before the import. They go through
the environment so that a test which starts another process has them there too.
"""

import collections
import contextlib
import gc
import importlib.metadata
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

# Programs here are compiled once and run for a moment: optimizing them would take longer.
os.environ["XLA_FLAGS"] = " ".join(
    (
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",
        # Compiles in half the time. Later versions have no such flag, and stop at unknown ones.
        "--xla_cpu_use_fusion_emitters=false"
        if importlib.metadata.version("jaxlib").startswith("0.10.")
        else "",
        os.getenv("XLA_FLAGS", ""),
    )
)
os.environ["JAX_ENABLE_X64"] = "0"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# The fake devices are CPU devices, whatever else the machine has.
os.environ["JAX_PLATFORMS"] = "cpu"
# XLA sizes its thread pool by this. The tests already run in one process per core, and a second
# thread in each only burns time.
os.environ["NPROC"] = "1"
# MuJoCo reads it when it is first imported, whoever does that.
os.environ.setdefault("MUJOCO_GL", "egl")

import jax
import jaxtyping
import pytest

from support.limits import HANG

# Must come before the first import of unspool: only modules imported later are checked.
jaxtyping.install_import_hook("unspool", "beartype.beartype")


# Tracing makes many objects, few of them in cycles.
gc.set_threshold(100_000)

_TORN_DOWN = itertools.count(1)


def pytest_itemcollected(item):
    """Tests that use a fixture of their module run in one process, so that it is made once."""
    fixtures = item._fixtureinfo.name2fixturedefs
    shared = [name for name, known in fixtures.items() if known[-1].scope == "module"]
    if shared and item.get_closest_marker("xdist_group") is None:
        item.add_marker(pytest.mark.xdist_group(f"{item.module.__name__}.{shared[0]}"))


def pytest_runtest_setup(item):
    """Where it is noted who runs which lines, a test traces what an earlier one has traced."""
    if item.config.getoption("cov_context", None):
        from unspool import _programs

        jax.clear_caches()
        _programs._KNOWN.clear()
        _programs._COMPILED.clear()


def pytest_runtest_teardown():
    """Programs that are kept are looked through in vain by each collection: a fifth of all time.

    They are freed when they are many: a process may map no more than 65,530 pieces of memory, each
    program has several, and all together they would fill a small machine.
    """
    if next(_TORN_DOWN) % 50 == 0 and _count_mappings() > 10_000:
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def _count_mappings():
    """Pieces of memory that this process has mapped; where nobody tells, they are many."""
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return sys.maxsize


def pytest_terminal_summary(terminalreporter):
    """Of a long run, the seconds of each file that takes many of them."""
    seconds = collections.Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid.partition("::")[0]] += report.duration
    if seconds.total() > 60:
        terminalreporter.section("seconds of each file")
        for file, total in seconds.most_common():
            if total >= 5:
                terminalreporter.write_line(f"{total:6.1f} {file}")


@pytest.fixture(scope="session", autouse=True)
def any_machine(tmp_path_factory):
    """Hides what a machine may have: installed data sets, settings that change what is printed."""
    from unspool.data import search_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_path, "SYSTEM_DIRECTORY", tmp_path_factory.mktemp("system"))
        for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "UNSPOOL_TRACEBACK"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def start_program():
    """Starts Python with these arguments, in a process group that ends with the test.

    Whatever becomes of the test, nothing is left of the program: no process that takes time from
    the tests that follow, and no open pipe, which would fail one of them with a `ResourceWarning`.
    """
    programs: list[subprocess.Popen] = []

    def start(*arguments: str, **settings) -> subprocess.Popen:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | settings
        command = [sys.executable, *arguments]
        programs.append(subprocess.Popen(command, text=True, start_new_session=True, **pipes))
        return programs[-1]

    yield start
    for program in programs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        for pipe in (program.stdin, program.stdout, program.stderr):
            # What is still to be written to a program that is gone is lost.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        program.wait()


@pytest.fixture
def finish():
    """Waits for a program's end, and returns what it has printed to either stream."""
    return lambda program: program.communicate(timeout=HANG)


@pytest.fixture
def float64():
    """Turns on float64 for one test, for comparisons with a closed form."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key():
    """The root key of a test that needs only one."""
    return jax.random.key(0)
