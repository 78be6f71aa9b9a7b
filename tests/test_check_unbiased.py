"""`check_unbiased` itself: its statistics, its verdicts, and the episodes that it compares."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import unspool
from support.slow import slow
from unspool import problems
from unspool._chains import ChainPlan, run_chains
from unspool._engine import MaskedEngine
from unspool._random import Purpose, part_keys, stream
from unspool._reference import sample_gradients
from unspool._verdict import judge
from unspool.extend import AbstractInfluence, AbstractSketch
from unspool.problems._closed_form import flatten, ramp

KEY = jax.random.key(0)


def check(problem, estimator, params, reference=None, **options):
    options = {"key": KEY, "num_chains": 300, "level": 1e-4} | options
    return unspool.check_unbiased(problem, estimator, params=params, reference=reference, **options)


class Line(unspool.AbstractProblem):
    """A loss linear in the parameters: the gradient is (1, 2) whatever the noise."""

    horizon: int = 2

    def init_params(self, *, key):
        return jnp.zeros(2)

    def init_state(self, params, *, key):
        return jnp.zeros(())

    def step(self, params, state, t, *, key):
        return state, params @ jnp.array([1.0, 2.0])


def test_the_standard_error_is_that_of_the_closed_form(float64):
    r"""One pair's estimate $z\, z \cdot g$ has variance $|g|^2 + g_p^2$, and kurtosis below 40."""
    exact = jnp.array([1.0, 2.0])
    estimator, num_chains = unspool.FullES(4, 0.1), 2000
    variance = np.array([5.0 + 1.0, 5.0 + 4.0]) / (4 * 2 * num_chains)
    for reference, factor in ((exact, 1.0), (None, 2.0)):
        found = check(Line(), estimator, jnp.zeros(2), reference, num_chains=num_chains)
        assert found.num_estimates == 2
        ratio = found.standard_error**2 / (factor * variance)
        assert np.all(np.abs(ratio - 1) < 4 * math.sqrt((3 + 40 / 8) / num_chains))
        assert found.verdict == "unbiased" and found.passed
    # Few chains have more episodes, so that their noise is not too skewed.
    assert check(Line(), unspool.FullES(1, 0.1), jnp.zeros(2), exact).num_estimates == 7


def test_rounding_of_the_largest_entry_is_no_bias_and_no_more_is_allowed():
    """The other entry is zero, of which nothing can be rounded away."""

    class Steep(Line):
        def step(self, params, state, t, *, key):
            return state, params @ jnp.array([1e4 / 3, 0.0])

    for shift, verdict in ((0.0, "unbiased"), (0.01, "biased")):
        exact = np.array([1e4 / 3 * (1 + shift), 0.0])
        found = check(Steep(), unspool.BPTT(1), jnp.zeros(2), exact, num_chains=30)
        assert found.verdict == verdict, found


@pytest.mark.slow
def test_alarms_of_whole_tests_are_as_rare_as_the_level_says():
    estimator, exact = unspool.FullES(4, 0.1), np.array([1.0, 2.0])
    joint, num_tests, num_chains = unspool.JointProblem([Line()]), 1000, 30
    plan = ChainPlan.of(joint, estimator, num_chains)
    keys = jax.random.split(KEY, num_tests)
    of_test = lambda key: jax.random.split(stream(key, Purpose.CHAIN), num_chains)
    run = jax.jit(lambda keys: run_chains(joint, estimator, jnp.zeros(2), keys, plan)[0])
    mean = np.asarray(run(jax.vmap(of_test)(keys).ravel()), float).reshape(num_tests, num_chains, 2)
    p_values = np.array([judge(chains - exact, 2.0, 0.0, 1e-3).p_value for chains in mean])
    first = check(
        Line(), estimator, jnp.zeros(2), jnp.array(exact), key=keys[0], num_chains=num_chains
    )
    assert p_values[0] == pytest.approx(first.p_value, rel=1e-3)
    # The correction for two coordinates that go together is a little too much.
    error = lambda p: 3 * math.sqrt(p * (1 - p) / num_tests)
    assert 0.20 < np.mean(p_values < 0.25) < 0.25 + error(0.25)
    assert 0.025 < np.mean(p_values < 0.05) < 0.05 + error(0.05)


def test_each_noise_counts_with_the_sigma_of_its_own_update(float64):
    r"""On a cubic, with $\sigma_u$ for update $u$: window $w$ of an episode that begins at update
    $b$ has $\sigma_{b+w}$, and the gradient has the variance of all of them."""
    problem, sigma = problems.Cubic(horizon=6), lambda update: 1.0 * 0.6**update
    params = problem.init_params(key=KEY)
    features, blocks = ramp(6), np.arange(6) // 2
    mean = (features @ flatten(params)).cumsum()
    gain = features.cumsum(axis=0)

    def exact(begins):
        reach = [(features * (blocks == k)[:, None]).cumsum(axis=0) for k in range(3)]
        variance = sum((r**2).sum(axis=1) * sigma(begins + k) ** 2 for k, r in enumerate(reach))
        return (mean**2 + variance - 1) @ gain / 6

    # Of three windows: one worker is at the start of its first episode, two are not and count
    # their second one first. Each has two episodes.
    estimator = unspool.PES(3, 2, sigma)
    begins = [first + 3 * number for first in (0, 1, 2) for number in range(2)]
    expected = np.mean([exact(b) for b in begins], axis=0)
    found = check(problem, estimator, params, num_chains=2000)
    assert found.verdict == "unbiased", found
    error = found.standard_error
    assert np.all(np.abs(found.reference - expected) < 4 * error)
    assert np.all(np.abs(found.mean - expected) < 4 * error)
    assert np.any(np.abs(exact(0) - expected) > 6 * error)
    first = problem.exact_gradient(params, unspool.Target(None, 2, sigma(0)))
    assert check(problem, estimator, params, first, num_chains=2000).verdict == "biased"


class Curriculum(problems.RandomLength):
    """Episodes of one window at first, of the whole horizon afterwards, with weights."""

    horizon: int = 6
    lengths: tuple[int, ...] = (4, 6)
    average_per_episode: bool = True

    @property
    def episodes(self):
        max_length = lambda episode: jnp.where(episode < 14, 2, 6)
        return dataclasses.replace(super().episodes, max_length=max_length)


@pytest.mark.parametrize(
    ("estimator", "num_chains"), [(unspool.NRES(4, 2, 0.3), 1000), slow(unspool.UORO(4, 2), 300)]
)
def test_episodes_are_as_long_as_a_curriculum_says(estimator, num_chains, float64):
    problem, params = Curriculum(), jnp.array([0.1, 0.1])
    found = check(problem, estimator, params, num_chains=num_chains)
    assert found.verdict == "unbiased", found
    plain = problems.RandomLength(6, (4, 6), average_per_episode=True)
    exact = plain.exact_gradient(params, estimator.plan(6).target)
    assert check(problem, estimator, params, exact, num_chains=num_chains).verdict == "biased"


@pytest.mark.parametrize("x64", [False, True])
def test_lengths_that_go_round_in_step_bias_nothing(x64):
    """Episodes of three windows out of four: workers spread over four never even out. Nothing is
    random here, so that whole episodes have the gradient itself."""
    with jax.enable_x64(x64):
        problem, estimator = problems.RandomLength(4, (3,)), unspool.TBPTT(3, 1)
        params = jnp.array([0.1, 0.1])
        exact = problem.exact_gradient(params, estimator.plan(4).target)
        found = check(problem, estimator, params, exact)
    assert found.verdict == "unbiased", found
    assert np.allclose(found.mean, flatten(exact), rtol=1e-6, atol=0)


def test_episodes_that_warm_up_do_not_count():
    """In float32, where integers have 32 bits: their losses would come on top of whole episodes."""
    problem, estimator = problems.RandomLength(), unspool.PES(4, 2, 0.1)
    test = unspool.check_unbiased(problem, estimator, key=KEY, num_chains=400)
    assert test.passed


JOINED = (problems.FinalLoss(6), problems.EarlyEnd(6), problems.RandomLength(6, (2, 6)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [slow(unspool.BPTT(2)), unspool.PES(4, 2, 0.2)],
)
def test_of_several_problems_the_mean_is_compared(estimator, float64):
    engine, params = unspool.JointProblem(JOINED), jnp.array([0.4, 0.2])
    each = [np.asarray(p.exact_gradient(params, estimator.plan(6).target)) for p in JOINED]
    exact = np.mean(each, axis=0)
    found = check(engine, estimator, params, jnp.asarray(exact))
    assert found.verdict == "unbiased", found
    assert check(engine, estimator, params, jnp.asarray(each[0])).verdict == "biased"
    found = check(engine, estimator, params)
    assert found.verdict == "unbiased", found
    assert np.all(np.abs(found.reference - exact) < 4 * found.standard_error + 1e-9)


def test_no_two_streams_have_a_key_in_common():
    keys = [stream(KEY, purpose) for purpose in Purpose if purpose != Purpose.PART]
    keys += [*jax.random.split(stream(KEY, Purpose.CHAIN), 30), *part_keys(KEY, 12)]
    words = {tuple(jax.random.key_data(key).tolist()) for key in keys}
    assert len(words) == len(keys)
    # The keys of a split are those of streams, so that what is split must be a stream of its own.
    data = jax.random.key_data(jax.random.split(KEY, 12))
    assert {tuple(x) for x in data.tolist()} & words


def test_problems_of_one_evaluation_share_no_randomness():
    """The mean of two equal problems is less noisy than one; common episodes would hide that."""
    problem = problems.LinearQuadratic(noise=1.0)
    engine, params = unspool.JointProblem([problem, problem]), problem.init_params(key=KEY)
    evaluate = lambda key: unspool.evaluate(engine, params, key=key, num_episodes=20)
    found = jax.jit(jax.vmap(lambda key: evaluate(key)[:2]))(jax.random.split(KEY, 400))
    losses, errors = (np.asarray(x, np.float64) for x in found)
    ratio = losses.std(ddof=1) / math.sqrt(np.mean(errors**2))
    assert abs(ratio - 1) < 4 / math.sqrt(2 * 400)


# --- What decides nothing ---


class Exploding(AbstractSketch):
    """A rank-one sketch whose signs are forgotten to be balanced: its noise grows without bound."""

    def blank(self, state, params):
        return unspool.UORO(1, 1).sketch.blank(state, params)

    def pull(self, sketch, cotangent, params):
        return unspool.UORO(1, 1).sketch.pull(sketch, cotangent, params)

    def push(self, sketch, step, keys, params):
        state, influence = unspool.UORO(1, 1).sketch.push(sketch, step, keys, params)
        signs = jax.vmap(lambda key: jax.random.rademacher(key, (), float))(keys)
        return jax.tree.map(lambda x: jax.vmap(jnp.multiply)(30.0 * signs, x), state), influence


class Planted(AbstractInfluence):
    num_workers: int
    window: int
    estimand = "gradient"
    needs_derivatives = True

    @property
    def sketch(self):
        return Exploding()


class Failing(problems.LinearQuadratic):
    """One step in fifty has no loss."""

    def step(self, params, state, t, *, key):
        state, loss = super().step(params, state, t, key=key)
        return state, jnp.where(jax.random.uniform(key) < 0.02, jnp.nan, loss)


def test_a_mean_that_drowns_in_noise_is_not_called_unbiased(float64):
    problem = problems.LinearQuadratic()
    params = problem.init_params(key=KEY)
    exact = problem.exact_gradient(params, unspool.Target())
    found = check(problem, Planted(4, 3), params, exact)
    assert np.max(np.abs(found.mean)) > 10 * np.max(np.abs(found.reference))
    assert found.p_value > 1e-4
    assert not found.passed and found.verdict == "not decided", found


class Idle(problems.Cubic):
    """With a parameter that does nothing."""

    def init_params(self, *, key):
        return super().init_params(key=key) | {"unused": jnp.array(1.0)}


def test_rounding_is_that_of_the_largest_coordinate():
    """A gradient of zero leaves room for it, beside others."""
    params = Idle().init_params(key=KEY)
    used = {name: params[name] for name in ("level", "slope")}
    exact = problems.Cubic().exact_gradient(used, unspool.Target()) | {"unused": jnp.array(0.0)}
    found = check(Idle(), unspool.BPTT(2), params, exact)
    assert np.any(found.mean != found.reference) and found.passed


def test_a_run_with_dropped_workers_decides_nothing(float64):
    problem, params = Failing(), Failing().init_params(key=KEY)
    exact = problem.exact_gradient(params, unspool.Target())
    found = check(problem, unspool.NRES(4, 3, 0.1), params, exact)
    assert found.dropped > 0 and not found.passed
    assert f"{found.dropped} workers were dropped" in found.reason
    assert found.verdict == "not decided"
    # A gradient that is far off is off whatever the dropped ones would have said.
    wrong = check(problem, unspool.BPTT(2), params, jax.tree.map(lambda x: x + 10.0, params))
    assert wrong.dropped > 0 and wrong.verdict == "biased"


def test_an_estimate_that_is_no_number_is_rejected():
    problem = problems.LinearQuadratic()
    result = unspool.check_unbiased(
        problem, unspool.BPTT(1), key=KEY, reference=jnp.full(4, jnp.nan), num_chains=30
    )
    assert not result.passed and result.p_value == 0


def test_episodes_that_do_not_count_have_no_losses_but_failures():
    class Fails(Line):
        def step(self, params, state, t, *, key):
            return state, jnp.where(params[0] > 1, jnp.nan, params[0])

    masked = MaskedEngine(unspool.LocalEngine(Fails()), first=jnp.array([0, 1, 5]), count=1)
    params = jnp.array([0.5, 0.0])
    for episode_ids, counted in (([0, 1, 2], [1, 1, 0]), ([0, 4, 5], [1, 0, 1])):
        begun = masked.start(params, jax.random.split(KEY, 3))
        rows = masked.shorten(begun, jnp.array(episode_ids))
        _, losses = masked.unroll(params, rows, 2)
        np.testing.assert_allclose(losses, [np.array(counted) * 1.0], rtol=1e-6)
        _, losses = masked.unroll(params + 1, rows, 2)
        assert np.all(np.isnan(losses))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_chains": 29}, "num_chains must be an integer of at least 30, got 29"),
        ({"num_chains": True}, "num_chains must be an integer of at least 30, got True"),
        ({"level": 0.0}, "level must be above 0 and below 1, got 0.0"),
        ({"reference": jnp.zeros(3)}, "reference must have as many numbers .* 2, got 3"),
        (
            {"reference": {"x": jnp.zeros(2)}},
            r"reference must be a tree like what is trained, .*\*.*, got .*{'x': \*}",
        ),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        check(Line(), unspool.BPTT(1), jnp.zeros(2), **options)


@pytest.mark.slow
def test_the_reference_is_simulated_where_no_closed_form_is_known(float64):
    """On problems that have one, the simulation agrees with it; a wrong target is rejected."""
    cubic, truncated = problems.Cubic(horizon=12), unspool.TruncatedES(4, 3, 0.1)
    for problem, estimator in (
        (cubic, truncated),
        (problems.LearnedStart(horizon=12), unspool.NRES(4, 3, 0.1)),
        (problems.EarlyEnd(), truncated),
    ):
        params = problem.init_params(key=KEY)
        result = check(problem, estimator, params, num_chains=400)
        assert result.verdict == "unbiased", result
        exact = flatten(problem.exact_gradient(params, estimator.plan(12).target))
        assert np.all(np.abs(result.reference - exact) < 4 * result.standard_error)
    target, params = unspool.NRES(4, 3, 0.1).plan(12).target, cubic.init_params(key=KEY)
    full = sample_gradients(cubic, params, target, key=KEY, num_samples=20_000)
    wrong = jax.tree.map(lambda x: jnp.mean(x, axis=0), full)
    assert check(cubic, truncated, params, wrong, num_chains=400).verdict == "biased"
