"""Runs tests of a tree again and again, each time in a fork that has imported all but the library.

    python warm.py TREE

Reads a line of JSON for each run, `{"tests": [...], "seconds": ...}`, and answers with one, the
exit status of pytest (124 where it took longer) and what it has printed.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

HEAVY = (
    "numpy", "jax", "jax.numpy", "equinox", "optax", "optax.contrib",
    "jaxtyping", "beartype", "scipy.stats", "scipy.special", "rich.console", "tyro",
)  # fmt: skip


def main(tree: Path) -> None:
    os.chdir(tree)
    os.setpgrp()
    # Programs that tests start have to find the changed library, too.
    os.environ["PYTHONPATH"] = str(tree / "src")
    sys.path[:0] = [str(tree / "src"), str(tree / "tests")]
    # A fork has one thread, and so must what is forked.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # Its settings come before the first import of JAX.
    importlib.import_module("conftest")
    for name in HEAVY:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    assert "unspool" not in sys.modules
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"a fork of a process with {threads} threads may hang"
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(run(**wanted)), flush=True)


def run(tests: list[str], seconds: float) -> dict:
    with tempfile.NamedTemporaryFile("w+") as log, tempfile.NamedTemporaryFile("w") as names:
        names.write("\n".join(tests))
        names.flush()
        child = os.fork()
        if child == 0:
            run_tests(names.name, log.fileno())
        status = wait(child, seconds)
        log.seek(0)
        return {"status": status, "printed": log.read()}


def run_tests(names: str, log: int) -> None:
    os.setpgrp()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    status = 3
    try:
        import pytest

        # Of modules that are there already.
        ignored = "ignore::pytest.PytestAssertRewriteWarning"
        options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=line", "-W", ignored]
        options += ["-m", "not slow"]
        status = int(pytest.main([*options, f"@{names}"]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, seconds: float) -> int:
    """The exit status of a child, or 124 if it did not end in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
