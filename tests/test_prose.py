"""Texts of experiments: Markdown with values in it, as it comes out of its files."""

import jinja2
import pytest

from unspool.experiments import InfluenceBalancingExperiment, SwimmerExperiment
from unspool.experiments.prose import prose

TUNING = "unspool.experiments.own.tune_experiment"
VALUES = {"problem": "mine.py:run", "horizon": 9, "objective": "X", "num_runs": 3}


def test_a_paragraph_is_a_line_and_a_value_is_text():
    text = prose(TUNING, **VALUES | {"problem": "<b>*a*_b_[c](d)`&\\"}, seeds=2)
    first, second = text.split("\n\n")
    assert r"of \<b>\*a\*\_b\_\[c\](d)\`\&\\ are tuned for 9 steps" in first
    assert second.endswith("tuned where it ended with the first seed.")
    assert "with the first seed" not in prose(TUNING, **VALUES, seeds=1)


def test_the_items_of_a_list_keep_their_lines():
    text = InfluenceBalancingExperiment().details().description
    lines = [line[:3] for line in text.split("\n\n")[3].split("\n")]
    assert lines == ["1. ", "2. ", "3. "]


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'seeds' is undefined"):
        prose(TUNING, **VALUES)


def test_an_experiment_of_ones_own_inherits_the_text():
    class Mine(SwimmerExperiment):
        pass

    assert Mine(num_episodes=7).details().description.count("the mean over 7 episodes") == 1
