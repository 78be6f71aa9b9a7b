"""Compiled programs on disk: a second process takes them from there, to the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import unspool
from unspool import _cache

TRAIN = "train cubic nres --num-workers 2 --num-updates 2 --num-episodes 0 --directory".split()


def run(home: Path, *argv: str, **environment: str) -> None:
    """A command of a user with this home."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_COMP", "XDG"))}
    command = [sys.executable, "-m", "unspool.cli", *argv]
    settings = inherited | {"HOME": str(home)} | environment
    done = subprocess.run(command, env=settings, cwd=home, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def programs(home: Path) -> dict[str, bytes]:
    """The programs that were kept, and when each was used last."""
    folder = home / ".cache" / "unspool" / "programs"
    files = folder.glob("*/*-cache")
    return {x.name: x.with_name(x.name[:-5] + "atime").read_bytes() for x in files}


def losses(directory: Path) -> list[float]:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line).get("loss") for line in lines]


@pytest.mark.skipif(sys.platform != "linux", reason="the place of the cache is another")
def test_a_second_command_compiles_nothing(tmp_path):
    run(tmp_path, *TRAIN, "first")
    kept = programs(tmp_path)
    assert any(name.startswith("jit_run") for name in kept)
    run(tmp_path, *TRAIN, "second")
    used = programs(tmp_path)
    assert used.keys() == kept.keys() and all(used[name] != kept[name] for name in kept)
    assert losses(tmp_path / "second") == losses(tmp_path / "first")


def test_nothing_is_kept_where_nothing_may_be(tmp_path):
    run(tmp_path, "--no-cache", "list", "problems")
    assert not (tmp_path / ".cache").exists()
    (tmp_path / ".cache").write_text("a file where a directory would be")
    run(tmp_path, "list", "problems")


def test_settings_of_the_user_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "mine")
            before = dict(os.environ)
            _cache.cache_for_commands()
            assert dict(os.environ) == before and not any(tmp_path.iterdir())


def test_a_processor_of_another_kind_has_a_directory_of_its_own(monkeypatch):
    place = lambda: Path(_cache.cache_settings("somewhere")["JAX_COMPILATION_CACHE_DIR"])
    mine = place()
    text = Path.read_text

    def other(path, *args, **kwargs):
        found = text(path, *args, **kwargs)
        return (
            found.replace("flags\t\t: ", "flags\t\t: avx1024 ") if "cpuinfo" in str(path) else found
        )

    monkeypatch.setattr(Path, "read_text", other)
    if Path("/proc/cpuinfo").exists():
        assert place() != mine
    monkeypatch.setattr(Path, "read_text", lambda *args, **kwargs: (_ for _ in ()).throw(OSError()))
    assert place().parent == Path("somewhere").absolute()


def test_a_size_below_one_byte_is_refused():
    with pytest.raises(ValueError, match="max_bytes must be at least 1, got 0"):
        unspool.cache_programs(max_bytes=0)
