"""A user's file of problems in a directory of its own, and what a command leaves there."""

import json
import sys
from pathlib import Path

import pytest

MINE = '''
from typing import Literal

import jax.numpy as jnp
from unspool import AbstractProblem, LocalEngine
from unspool.problems import Cubic


class Walk(AbstractProblem):
    """A walk to a goal.

    Args:
        horizon: steps of an episode.
        goal (float): where to be,
            sooner or later; 100% of the loss.
    """

    horizon: int = 6
    goal: float = 1.0
    start: tuple[float, float] = (0.0, 0.0)
    gains: tuple[float, ...] = (1.0,)
    squared: bool = True
    name: str = "walk"
    limit: int | None = None

    def init_params(self, *, key):
        return jnp.zeros(2)

    def init_state(self, params, *, key):
        return jnp.array(self.start)

    def step(self, params, state, t, *, key):
        state = state + params
        return state, jnp.mean((state - self.goal) ** 2) * self.gains[0]


ready = Walk(horizon=4, goal=2.0)
number = 3


class Plain:
    pass


class Vector(Walk):
    def step(self, params, state, t, *, key):
        return state, (state - self.goal) ** 2


class Shrinking(Walk):
    def step(self, params, state, t, *, key):
        return state[:1], jnp.sum(state)


class Undefined(Walk):
    def init_params(self, *, key):
        return jnp.array([0.0, jnp.nan])


class Clumsy(Walk):
    def step(self, params, state, t, *, key):
        return state + jnp.ones(3), jnp.sum(state)  # the clumsy line


class Fractional(Walk):
    horizon: int = 2.5


class Exploding(Walk):
    def step(self, params, state, t, *, key):
        return state, jnp.sum(state) / 0.0


class Unfinished(AbstractProblem):
    horizon: int = 3


class Choosy(Walk):
    end: Literal["soft", "hard"] = "soft"
    limit: int | None = 5
    rate: float

    def __init__(self, rate: float, end: Literal["soft", "hard"] = "soft", limit: int | None = 5):
        self.rate, self.end, self.limit = rate, end, limit


class Needy(Walk):
    table: object

    def __init__(self, table):
        self.table = table
'''

FAST = ["--num-workers", "2", "--num-updates", "4", "--num-episodes", "2"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """A directory of one's own that holds `mine.py`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def read(path) -> dict:
    return json.loads(Path(path).read_text())


def lines(path) -> list[dict]:
    """The lines of a record without what depends on the machine's speed."""
    parsed = [json.loads(line) for line in Path(path).read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in parsed]


def one_line(capsys) -> str:
    """What stands on stderr, which must be a single line."""
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.startswith("unspool: "), text
    return text
