"""Experiments that go past the published state of the art: their tables, and what they measure."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.cli import one_line
from support.plane import Plane
from unspool import problems
from unspool.cli.__main__ import main
from unspool.experiments import reproduce
from unspool.experiments.base import Trace
from unspool.experiments.beyond.base import AbstractBeyondExperiment, Training
from unspool.experiments.beyond.optimizers import (
    adam,
    adam_cut_by_drift,
    adam_in_sigmas,
    sgd,
)
from unspool.experiments.beyond.side_by_side import arrivals, ratios, step_cost, working_rates
from unspool.experiments.beyond.smoothed import Smoothed
from unspool.experiments.beyond.variances import num_steps, variances
from unspool.records import read_studies

KEY = jax.random.key(0)


def trace(losses, seconds=1.0):
    """Evaluations every ten updates, of 100 steps each, after 50 steps of warm-up."""
    updates = 10 * np.arange(len(losses))
    spent = seconds * np.arange(len(losses))
    return Trace(0, updates, np.zeros((len(losses), 1)), 50 + 10 * updates, spent, updates,
                 np.array(losses, float))  # fmt: skip


def test_a_seed_arrives_where_it_stays():
    early, late, never = [9, 1, 1, 1, 1], [9, 1, 9, 9, 1], [9, 1, 1, 1, 9]
    found = arrivals((trace(early), trace(late)), 1.0, 5.0)
    assert found == ["2 of 2", 300.0, 150.0, 450.0, 25.0, 1.0, 1.0]
    count, median, least, most, *_ = arrivals((trace(early), trace(never), trace(never)), 2.0, 5.0)
    assert (count, median, least, most) == ("1 of 3", None, 300.0, None)
    assert arrivals((), 1.0, 5.0) == [None] * 7


def test_tails_are_means_of_the_last_fifth_and_one_that_is_lost_is_the_worst():
    found = arrivals((trace([9] * 8 + [2, 4]), trace([9] * 9 + [math.nan])), 1.0, 5.0)
    assert found[-2:] == [None, None]
    assert arrivals((trace([9] * 8 + [2, 4]), trace([1] * 10)), 1.0, 5.0)[-2:] == [2.0, 3.0]


def test_a_step_costs_as_much_more_as_it_takes_longer():
    assert step_cost((trace([1, 1], 3.0),), (trace([1, 1], 2.0),)) == 1.5
    assert step_cost((), (trace([1, 1]),)) == 1.0


def test_ratios_of_variances_come_with_intervals():
    values = np.array([[1.0, 4.0], [3.0, 4.0], [2.0, 4.0]])
    assert ratios(values, values) == ["1", "1"]
    assert ratios(None, values) == [None, None]
    noisy, exact = ratios(values, np.full((3, 2), 4.0))
    # The jackknife of log(2 / 4) over means of 2.5, 1.5 and 2, and Student's 4.30.
    error = np.std(np.log([2.5, 1.5, 2.0])) * 2**0.5
    low, high = (f"{0.5 * math.exp(sign * 4.3027 * error):.2g}" for sign in (-1, 1))
    assert (noisy, exact) == (f"0.5 ({low} to {high})", "1 (1 to 1)")


@pytest.mark.parametrize(
    ("tails", "said"),
    [
        ([9, 1, 1, 1, 9], "0.5 to 2 times"),
        ([1, 1, 1, 9, 1], "0.25 to 1 times"),
        ([1, 1, 9, 1, 1], "not the chosen one"),
        ([1, 1, 1, 1, 1], "all from 0.25 to 4 times"),
    ],
)
def test_rates_that_arrive_lie_around_the_chosen_one(tails, said):
    assert working_rates(np.array([tails] * 10), (0.25, 0.5, 1.0, 2.0, 4.0), 5.0) == said


def test_one_seed_in_ten_may_fail():
    tails = np.ones((10, 3))
    tails[0, 0], tails[:2, 2] = 9, 9
    assert working_rates(tails, (0.5, 1.0, 2.0), 5.0) == "0.5 to 1 times"


def test_variances_are_those_of_an_estimate_and_of_an_episode():
    """Of independent noises z z^T c: three times the square of c, over the pairs."""
    estimator = unspool.NRES(4, 3, 0.1)
    keys = jax.random.split(KEY, 100)
    found = np.array([variances(Plane(), estimator, jnp.zeros(2), key) for key in keys], float)
    # Half of the pairs begin an episode in the middle of another.
    right = 15 / 4 * np.array([1.0, 0.75])
    z = (found.mean(axis=0) - right) / (found.std(axis=0, ddof=1) / 10)
    assert np.all(np.abs(z) < 4), z
    assert abs(found[:, 1].mean() - right[0]) > 4 * found[:, 1].std() / 10
    assert num_steps(Plane(), estimator) == 8 * (1 + 3 * 2) * 4 * 2 * 3


class Bowl(Plane):
    """A loss that is the square of both parameters, the first of which is the start."""

    def init_state(self, params, *, key):
        return params[0]

    def step(self, params, state, t, *, key):
        return state, state**2 + params[1] ** 2


def test_a_smoothed_problem_is_seen_from_around():
    """The mean of a square grows by the variance of the shift."""
    smoothed, place = Smoothed(Bowl(), 0.5), jnp.array([1.0, 2.0])
    found = unspool.evaluate(smoothed, place, key=KEY, num_episodes=4000)
    assert abs(found.loss - (5 + 2 * 0.5**2)) < 4 * found.standard_error
    assert found.loss - 5 > 4 * found.standard_error
    # Squares of normal shifts: 4 * 5 * 0.5**2 + 2 * 2 * 0.5**4, whatever the steps.
    assert float(found.standard_error) == pytest.approx((5.25 / 4000) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("made", "same"),
    [
        (sgd().make(0.1), optax.sgd(0.1)),
        (adam(b1=0.5).make(0.1), optax.adam(0.1, b1=0.5)),
        (adam(2).make(0.1), optax.adam(optax.exponential_decay(0.1, 2, 0.1))),
        (adam_in_sigmas(b1=0.5).make(0.1), optax.adam(0.05, b1=0.5)),
        (adam_cut_by_drift(1e9, b1=0.5).make(0.1), optax.adam(0.1, b1=0.5)),
    ],
)
def test_optimizers_are_those_of_optax(made, same):
    made, same = map(optax.with_extra_args_support, (made, same))
    x, told = jnp.array([0.3, -1.0]), {"pace": jnp.array(2.0), "num_windows": 4}
    state, other = made.init(x), same.init(x)
    for _ in range(3):
        one, state = made.update(x, state, x, **told)
        two, other = same.update(x, other, x)
        np.testing.assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-5)


@dataclass(frozen=True)
class Tiny(AbstractBeyondExperiment):
    """Influence balancing, with three kinds of trainings."""

    name: ClassVar[str] = "tiny"
    title: ClassVar[str] = "A tiny comparison"
    references: ClassVar[tuple[str, ...]] = ()
    parameter_names: ClassVar[tuple[str, ...]] = ("theta",)
    metric: ClassVar[str] = "loss"
    threshold: ClassVar[float] = 60.0
    factors: ClassVar[tuple[float, ...]] = (0.1, 1.0, 1e6)
    problem: ClassVar[problems.InfluenceBalancing] = problems.InfluenceBalancing(30)

    seeds: int = 2

    @property
    def judge(self):
        return self.problem, 1

    def trainings(self):
        controlled = unspool.ControlledNRES(20, 10, 0.1)
        return {
            "plain": Training(unspool.NRES(20, 10, 0.1), sgd(), 1e-3, 40, 10),
            "controlled": Training(controlled, sgd(), 1e-3, 40, 10),
        }

    def estimators(self):
        return {label: each.estimator for label, each in self.trainings().items()}

    def places(self):
        return {"start": jnp.array(0.5)}


def test_an_experiment_sets_trainings_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr("unspool.experiments.beyond.base.prose", lambda *_, **values: f"{values}")
    reproduce(Tiny(), tmp_path / "tiny", num_processes=1)
    (study,) = read_studies([tmp_path / "tiny"])
    assert study.experiment is not None
    assert study.experiment.stays and study.experiment.thresholds == [60.0]
    assert {run.config.seed for run in study.runs} == {2000, 2001}
    trained, varied = study.experiment.tables
    plain, controlled = trained.rows
    assert (plain[0], plain[1], controlled[1]) == ("plain", "2 of 2", "2 of 2")
    assert plain[-1] == controlled[-1] == "0.1 to 1 times"
    assert plain[2] == plain[3] == plain[4] and plain[5] == 0
    assert varied.columns == ["method", "update, start", "episode, start"]
    assert varied.rows[0] == ["plain", "1", "1"] and varied.rows[1][0] == "controlled"


def test_all_experiments_of_a_family_have_one_command(capsys):
    assert main(["reproduce", "beyond", "--help"]) == 0
    assert "beyond-lorenz" in capsys.readouterr().out
    assert main(["reproduce", "beyond", "--num-processes", "0"]) == 2
    assert "num-processes must be" in one_line(capsys)
    assert main(["reproduce", "beyon"]) == 2
    assert "there is no experiment 'beyon'" in one_line(capsys)


def test_the_experiments_say_what_they_compare():
    for make in (
        unspool.experiments.BeyondLorenzExperiment,
        unspool.experiments.BeyondToyRegressionExperiment,
    ):
        experiment = make(seeds=1)
        labels = [entry.label for entry in experiment.entries()]
        assert labels[0] == "NRES, published" and len(set(labels)) == len(labels) >= 3
        assert experiment.details().description and min(experiment.seed_values) >= 2000
        assert 1.0 in experiment.factors
