"""A bar where somebody watches, lines elsewhere, and nothing unless it was asked for."""

import io
import itertools
import re
import sys

import jax
import optax
import pytest

import unspool
from unspool._progress import show_progress
from unspool.problems import Cubic

JOB = Cubic(horizon=4), unspool.BPTT(), optax.sgd(0.01)


class Terminal(io.StringIO):
    """A stream that is watched."""

    def isatty(self):
        return True


def watch_stderr(monkeypatch):
    """A terminal in place of stderr, on which a bar is drawn at every record."""
    tqdm = pytest.importorskip("tqdm")
    # No thread that looks after bars which have stopped.
    monkeypatch.setattr(tqdm.tqdm, "monitor_interval", 0)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def updates(records):
    return [record.update for record in records]


def test_a_bar_shows_updates_and_the_loss(monkeypatch):
    bar = watch_stderr(monkeypatch)
    *_, last = unspool.train(*JOB, num_updates=6, log_every=2, key=jax.random.key(0), progress=True)
    drawn = bar.getvalue().split("\r")
    assert "0/6" in drawn[1] and "6/6" in drawn[-1]
    assert f"loss {last.loss:.6g}" in drawn[-1] and drawn[-1].endswith("]\n")


def test_a_training_that_goes_on_begins_its_bar_there(monkeypatch):
    bar = watch_stderr(monkeypatch)
    first, *_ = unspool.train(*JOB, num_updates=2, log_every=2, key=jax.random.key(0))
    records = unspool.train(
        *JOB, num_updates=4, key=jax.random.key(0), state=first.state, progress=True
    )
    assert updates(records) == [3, 4]
    assert "2/4" in bar.getvalue().split("\r")[1]
    assert "4/4" in bar.getvalue().split("\r")[-1]


@pytest.mark.slow
def test_a_run_of_settings_shows_its_bar_too(monkeypatch, tmp_path):
    bar = watch_stderr(monkeypatch)
    config = unspool.TrainConfig(
        problem=unspool.Spec("cubic"), estimator=unspool.Spec("bptt"), num_updates=2
    )
    assert updates(unspool.train_run(config, tmp_path / "run", progress=True)) == [1, 2]
    assert "2/2" in bar.getvalue()
    again = unspool.resume_run(tmp_path / "run", num_updates=4, progress=True)
    assert updates(again) == [3, 4]
    assert "4/4" in bar.getvalue()


def test_the_bits_are_those_of_a_training_without_a_bar(monkeypatch):
    watch_stderr(monkeypatch)
    options = {"num_updates": 3, "key": jax.random.key(0)}
    for with_bar, without in zip(
        unspool.train(*JOB, **options, progress=True), unspool.train(*JOB, **options), strict=True
    ):
        assert jax.tree.all(jax.tree.map(lambda x, y: x == y, with_bar.params, without.params))
        assert with_bar.loss == without.loss


def test_nothing_is_printed_unless_it_was_asked_for(capsys, tmp_path):
    for train in (unspool.train, unspool.Run.create(tmp_path / "run", {}).train):
        assert len(updates(train(*JOB, num_updates=3, key=jax.random.key(0)))) == 3
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_a_log_gets_lines_and_no_carriage_returns(capsys):
    records = unspool.train(*JOB, num_updates=40, key=jax.random.key(0), log_every=1, progress=True)
    assert len(updates(records)) == 40
    said = capsys.readouterr()
    assert said.out == "" and "\r" not in said.err
    lines = said.err.splitlines()
    assert [line.split()[0] for line in lines] == [f"{4 * i}/40" for i in range(1, 11)]
    assert re.search(r"loss -?\d", lines[-1])


def test_a_bar_without_tqdm_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"needs tqdm.*pip install 'unspool\[notebook\]'"):
        with show_progress(4, 0, "updates", Terminal()):
            pass


def test_progress_is_lines_when_nobody_watches(monkeypatch):
    # A tenth of a second for every look at the clock; half a minute would be told of too.
    clock, stream = itertools.count(), io.StringIO()
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 10)
    with show_progress(100, 0, "updates", stream) as show:
        for count in range(1, 101):
            show(count, "loss 1")
    said = stream.getvalue().splitlines()
    assert len(said) == 10 and said[-1].startswith("100/100 updates, ")


def test_rates_are_read_at_a_glance(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("time.monotonic", lambda: next(clock) / 2)
    for size, said in ((1, "1/s"), (3420, "3,420/s")):
        stream = io.StringIO()
        with show_progress(4 * size, 0, "updates", stream) as show:
            for count in range(5):
                show(count * size, "")
        assert f"updates, {said}, " in stream.getvalue()
