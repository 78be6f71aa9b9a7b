"""Training stops where too many workers fail or too few episodes survive, and by no chance."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unspool
from support.failures import KEY, Fated
from unspool import _failure_rate
from unspool._estimator.survival import Survival
from unspool._failure_rate import FailureRate, none_has_come_through, survive_too_rarely

pytestmark = pytest.mark.usefixtures("float64")


def chance_of_stopping(num_attempts, rate):
    """The probability that so many attempts, of which this share fail, stop the training."""
    total = 0.0
    for failed in range(num_attempts + 1):
        test = FailureRate()
        test.add(np.array([num_attempts]), np.array([failed]), np.array([True]))
        if test.is_too_high:
            chance = rate**failed * (1 - rate) ** (num_attempts - failed)
            total += math.comb(num_attempts, failed) * chance
    return total


def test_the_rule_by_which_training_stops_is_no_flip_of_a_coin(monkeypatch):
    for num_attempts in (1, 2, 8, 19, 20, 21, 50, 200, 500):
        assert chance_of_stopping(num_attempts, 0.5) <= 1e-6
        assert chance_of_stopping(num_attempts, 0.3) <= 1e-10
    assert chance_of_stopping(19, 1.0) == 0 and chance_of_stopping(20, 1.0) == 1
    assert chance_of_stopping(100, 0.9) > 0.999 and chance_of_stopping(500, 0.7) > 0.999
    monkeypatch.setattr(_failure_rate, "_CHANCE", 0.5)
    assert chance_of_stopping(50, 0.5) > 0.1


def test_no_single_record_of_few_workers_stops_and_old_ones_are_forgotten():
    test, yes = FailureRate(), np.array([True])
    verdicts = []
    for failed in [8, 8, 8] + [0] * 10:
        test.add(np.array([8]), np.array([failed]), yes)
        verdicts.append(test.is_too_high)
    assert verdicts == [False, False, True] + [False] * 10
    assert test.counts == (80, 0)


def test_few_that_survive_are_told_from_few_that_were_counted():
    def verdict(rate, num_windows, attempts):
        attempted = jnp.full(num_windows, float(attempts))
        return survive_too_rarely(
            [Survival(attempted, rate * attempted, jnp.ones(num_windows + 1))]
        )

    # 0.55**8 is 0.8 %, 0.55**5 is 5.03 %; a single window has no late ones.
    assert verdict(0.45, 8, 1000) and not verdict(0.45, 8, 10)
    assert not verdict(0.45, 5, 1000) and not verdict(0.99, 1, 1000)
    assert verdict(0.45, 6, 1000) and not verdict(0.45, 6, 40)
    assert verdict(1.0, 6, 1000)
    # Twice the standard error: 0.15**2 is 2.3 %, 0.2**2 is 4 %.
    assert verdict(0.85, 2, 100) and not verdict(0.8, 2, 100)
    # Fifty failures are enough.
    assert verdict(12.5 / 13, 4, 13) and not verdict(12.25 / 13, 4, 13)


def test_that_none_comes_through_is_said_of_the_last_window():
    def verdict(attempted, failed, num_workers=6):
        arrays = (jnp.asarray(x, float) for x in (attempted, failed, [1.0] * (len(failed) + 1)))
        return none_has_come_through(Survival(*arrays), num_workers)

    assert verdict([10, 5], [5, 5]) and verdict([10, 0], [10, 0])
    assert not verdict([10, 5], [5, 1]) and not verdict([10], [10])
    assert not verdict([10, 5, 5], [5, 0, 2]) and verdict([10, 5, 3], [5, 2, 3])
    assert not verdict([10, 5], [5, 5], num_workers=11)


def test_training_stops_for_what_it_is_to_stop_for():
    estimator = unspool.RTRL(20, 1)

    def train(hazard, num_updates, throw=True):
        problem = Fated(jnp.full(4, hazard))
        records, why = [], ""
        try:
            for record in unspool.train(
                problem,
                estimator,
                optax.sgd(0.0),
                num_updates=num_updates,
                key=KEY,
                log_every=5,
                throw=throw,
            ):
                records.append(record)
        except unspool.TrainingError as error:
            why = str(error)
        return len(records), why

    assert train(0.3, 100) == (20, "")
    # In five updates fewer than 20 workers begin, which is too few to say anything but nothing.
    for num_updates, num_records in ((5, 1), (100, 2)):
        count, why = train(1.0, num_updates)
        assert count == num_records and "workers dropped" in why
    assert train(1.0, 25, throw=False) == (5, "")
    # Of two steps one never fails: 0.4**4 of the episodes get to the end, and 43 % fail per try.
    count, why = train(0.6, 400)
    assert count < 80 and "fewer than 5% of the episodes" in why
