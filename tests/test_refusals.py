"""Values that are refused: where something is made, by a tree that does not fit, by a method."""

import dataclasses
import inspect
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import unspool
from support.exact import polynomial
from unspool import extend, problems

CUBIC, LEAVES = problems.Cubic(horizon=4), ("level", "slope")
EMPTY = dataclasses.replace(polynomial(), horizon=0)


class Undecided(problems.Cubic):
    """Does not say yes or no."""

    @property
    def episodes(self):
        return unspool.Episodes(is_done=lambda state: state)


class Unasked(problems.Cubic):
    """Says in a method of its own what belongs to its episodes."""

    def is_done(self, state):
        return state > 1


class Described(problems.Cubic):
    """Says in words how its episodes end."""

    episodes = "end early"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unspool.NRES(2, 2, "wide"), "sigma must be made of positive numbers, got 'wide'"),
        (lambda: unspool.NRES(2, 2, {}), "sigma must hold at least one number, got {}"),
        (lambda: unspool.NRES(2, 2, jnp.inf), "sigma must be greater than 0 and finite"),
        (
            lambda: unspool.NRES(5, 3, 0.1, pairs_per_group=2),
            "multiple of pairs_per_group=2, got 5; the nearest legal values are 4 and 6",
        ),
        (
            lambda: unspool.Chunked(unspool.NRES(4, 3, 0.1, pairs_per_group=2), 3),
            "the nearest legal values are 2 and 4",
        ),
        (lambda: unspool.NRES(0, 3, 0.1), "num_workers must be an integer of at least 1, got 0"),
        (lambda: unspool.NRES(4, 0, 0.1), "window must be an integer of at least 1, got 0"),
        (lambda: unspool.NRES(4, 3, 0.0), "sigma must be greater than 0 and finite, got 0.0"),
        (lambda: unspool.NRES(4, 3, {"a": 1.0, "b": -2.0}), "sigma must be .*got -2.0"),
        (lambda: unspool.GPES(4, 4, 6, 0.1), "nearest legal periods are 4 and 8"),
        (lambda: unspool.BPTT(0), "num_workers must be"),
        (lambda: unspool.UORO(1, -1), "window must be"),
        (
            lambda: unspool.LocalEngine(Unasked()),
            r"has a method is_done, which nobody asks: .*`episodes`, as in Episodes\(is_done=",
        ),
        (lambda: unspool.LocalEngine(Described()), "must be an Episodes, got 'end early'"),
        (lambda: unspool.LocalEngine(EMPTY), "horizon must be .*got 0"),
        (lambda: unspool.LocalEngine(CUBIC, workers_at_once=0), "workers_at_once must be"),
    ],
)
def test_what_cannot_be_made_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


NEEDED = {
    "num_workers": 4,
    "window": 3,
    "period": 3,
    "sigma": 0.1,
    "estimator": unspool.BPTT(2),
    "workers_at_once": 2,
}
"""What exported classes have no default for, if it is nothing else."""


MAY_BE_ZERO = {"seed", "num_positive", "lag"}


def counts_of_exported_classes():
    """Every argument that is a count, with all that its class needs to be made."""
    for module in (unspool, problems):
        for kind in filter(inspect.isclass, vars(module).values()):
            if inspect.isabstract(kind) or not issubclass(kind, eqx.Module):
                continue
            arguments = inspect.signature(kind).parameters
            needed = {name for name, x in arguments.items() if x.default is x.empty}
            counts = [name for name, x in arguments.items() if x.annotation in (int, int | None)]
            if needed <= NEEDED.keys():
                known = {name: NEEDED[name] for name in needed | {"estimator"} & arguments.keys()}
                yield from ((kind, known, name) for name in counts if name not in MAY_BE_ZERO)


def test_every_count_of_every_exported_class_is_checked():
    checked = list(counts_of_exported_classes())
    assert {(unspool.Chunked, "workers_at_once"), (problems.Lorenz, "horizon")} <= {
        (kind, name) for kind, _, name in checked
    }
    for kind, known, name in checked:
        for value in (0, -1, True):
            with pytest.raises(ValueError, match=f"{name} must be .*got {value!r}"):
                kind(**known | {name: value})


@pytest.mark.parametrize(
    ("problem", "sigma", "message"),
    [
        (CUBIC, {"level": 0.1}, "sigma must be a number, or a tree of the structure of the param"),
        (
            CUBIC,
            dict.fromkeys(LEAVES, jnp.ones(2)),
            r"a leaf of sigma must .* \[\], got .*\[2\]",
        ),
        (Undecided(), 0.1, r"is_done must return a boolean of shape \(\), got float32\[\]"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_step(problem, sigma, message):
    params = problem.init_params(key=jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        unspool.NRES(2, 2, sigma).init(problem, params, key=jax.random.key(0))


def test_arms_rejoin_where_there_is_one_to_rejoin_at():
    for probe in (extend.Antithetic(), extend.ControlledAntithetic()):
        with pytest.raises(ValueError, match="use CenteredAntithetic"):
            probe.rejoin((None, None))


def test_types_are_checked_without_help():
    """The tests check types at run time; a user's program does not."""
    script = """
import unspool
from unspool.problems import Cubic
for make in (lambda: unspool.NRES(4, 2.5, 0.1), lambda: unspool.LocalEngine(Cubic)):
    try:
        make()
    except ValueError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "window must be an integer of at least 1, got 2.5" in run.stdout, run.stderr
    assert "a class: call it first" in run.stdout, run.stderr
