"""What deviations of chains say of a bias: statistics, tails, verdicts."""

import math

import numpy as np
import pytest
import scipy.stats

from support.slow import slow
from unspool._student import quantile, two_sided
from unspool._verdict import Statistics, judge, largest_share


@pytest.mark.parametrize("degrees", [1, 2, 29, 99, 999, 100_000])
def test_tails_of_student_are_right_far_out(degrees):
    for t in (0.0, 0.3, 1.0, 2.5, 5.0, 8.0, 20.0):
        exact = 2 * scipy.stats.t.sf(t, degrees)
        assert two_sided(t, degrees) == two_sided(-t, degrees)
        assert abs(two_sided(t, degrees) / exact - 1) < 1e-9
    for tail in (0.1, 1e-3, 1e-6, 1e-9):
        assert abs(scipy.stats.t.sf(quantile(tail, degrees), degrees) / tail - 1) < 1e-9
    assert two_sided(math.inf, degrees) == 0


def symmetric(num_chains=40, size=2, seed=0):
    """Deviations of no skewness, with mean zero and different scales."""
    half = np.random.default_rng(seed).normal(size=(num_chains // 2, size))
    return np.concatenate([half, -half]) * (1.0 + np.arange(size))


def test_the_p_value_is_two_sided_and_corrected():
    noise = symmetric()
    error = noise.std(0, ddof=1) / math.sqrt(40)
    for sign in (1, -1):
        found = judge(noise + sign * np.array([0.0, 3.0]) * error, 10.0, 0.0, 0.05)
        assert np.allclose(found.statistics.z, [0, 3 * sign], atol=1e-12)
        assert abs(found.p_value / (2 * 2 * scipy.stats.t.sf(3.0, 39)) - 1) < 1e-9
        assert found.decision == "biased"
    wide = judge(np.tile(noise + 3 * error, 10), 10.0, 0.0, 0.05)
    assert abs(wide.p_value / (20 * 2 * scipy.stats.t.sf(3.0, 39)) - 1) < 1e-9
    assert wide.decision == "unbiased"


NOISES = {
    "gaussian": lambda z, w, u: z,
    "squared": lambda z, w, u: z**2 - 1,
    "credited": lambda z, w, u: z * w * u * (1 + u),
}


def simulate(noise, num_chains, size):
    """Chains whose noise is a mean over eight episodes; each coordinate is a test of its own."""
    draws = np.random.default_rng(num_chains).normal(size=(3, 8, num_chains, size))
    return NOISES[noise](*draws).mean(axis=0)


@pytest.mark.parametrize(("num_chains", "size"), [(30, 20_000), slow(100, 6000)])
@pytest.mark.parametrize("noise", NOISES)
def test_alarms_are_as_rare_as_the_level_says(noise, num_chains, size):
    t = Statistics.of(simulate(noise, num_chains, size), 0.0).t
    rate = lambda level: np.mean(t > quantile(level / 2, num_chains - 1))
    error = math.sqrt(0.05 * 0.95 / size)
    # Not rarer by much either: a standard error that is too large hides biases.
    assert 0.038 - 4 * error < rate(0.05) < 0.05 + 4 * error
    assert rate(0.001) < 0.0015 + 4 * math.sqrt(0.0015 / size)
    if (noise, num_chains) == ("squared", 30):
        # What Student's statistic, or a normal law, would have done.
        z = np.abs(Statistics.of(simulate(noise, num_chains, size), 0.0).z)
        assert np.mean(z > quantile(0.0005, 29)) > 0.0025
        assert np.mean(z > scipy.stats.norm.isf(0.0005)) > 0.005


def test_what_is_detectable_is_detected_nine_times_of_ten():
    noise = simulate("gaussian", 100, 6000)
    detectable = judge(noise[:, :1], 1.0, 0.0, 0.01).detectable[0]
    expected = (quantile(0.005, 99) + quantile(0.1, 99)) * noise[:, 0].std(ddof=1) / 10
    assert abs(detectable / expected - 1) < 1e-9
    bias = (quantile(0.005, 99) + quantile(0.1, 99)) / math.sqrt(8 * 100)
    t = Statistics.of(noise + bias, 0.0).t
    assert abs(np.mean(t > quantile(0.005, 99)) - 0.9) < 0.02


@pytest.mark.parametrize("sign", [1, -1])
def test_skewed_noise_explains_no_large_deviation_away(sign):
    noise = np.exp(np.random.default_rng(0).normal(size=(1000, 1)))
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    found = judge(noise + sign * 6 / math.sqrt(1000), 10.0, 0.0, 1e-6)
    assert abs(found.statistics.z[0]) == pytest.approx(6.0) and found.decision == "biased"


@pytest.mark.parametrize("size", [3.0, -5.0])
def test_skewness_is_taken_off_as_hall_does_it(size):
    r"""In its other form, $((1 + \gamma q / 3)^3 - 1) / \gamma + \gamma / (6 n)$."""
    noise = np.random.default_rng(0).gamma(4.0, size=(40, 1))
    noise -= noise.mean()
    gamma = scipy.stats.skew(noise[:, 0])
    assert 0.5 < gamma < 1.5
    q = size / math.sqrt(40)
    found = Statistics.of(noise + q * noise.std(ddof=1), 0.0)
    hall = ((1 + gamma * q / 3) ** 3 - 1) / gamma + gamma / (6 * 40)
    assert found.z[0] == pytest.approx(size)
    assert found.t[0] == pytest.approx(min(abs(size), abs(hall) * math.sqrt(40)))
    assert (size > 0) == (found.t[0] == pytest.approx(size))


@pytest.mark.parametrize("size", [np.nan, np.inf, 1e200])
def test_a_coordinate_that_is_no_number_is_rejected_beside_others(size):
    """Also where only the noise is beyond all numbers, and the deviation is none."""
    noise = symmetric()
    noise[:, 1] *= size
    found = judge(noise, 1.0, 0.0, 1e-3)
    assert found.decision == "biased" and "no finite number" in found.reason


def test_noise_as_large_as_the_gradient_decides_nothing():
    noise = simulate("gaussian", 100, 3)
    verdict = lambda scale: judge(noise, scale, 0.0, 1e-3)
    blind = verdict(1.0).detectable.max()
    assert verdict(0.49 * blind).decision == "not decided"
    assert "would have gone unseen" in verdict(0.49 * blind).reason
    assert verdict(0.51 * blind).decision == "unbiased"
    # What is seen in spite of the noise is a bias all the same.
    assert judge(noise + 10.0, 0.1, 0.0, 1e-3).decision == "biased"
    assert judge(np.zeros((30, 2)), 0.0, 0.0, 1e-3).decision == "unbiased"


def test_heavy_tails_decide_nothing():
    rng = np.random.default_rng(0)
    tails = {
        "normal": rng.normal(size=(1000, 500)),
        "products": rng.normal(size=(4, 8, 1000, 500)).prod(axis=0).mean(axis=0),
        "Cauchy": rng.standard_cauchy((1000, 500)),
        "log-normal": np.exp(3 * rng.normal(size=(1000, 500))) - math.exp(4.5),
    }
    heavy = {
        name: np.mean(Statistics.of(chains, 0.0).top_share > largest_share(1000))
        for name, chains in tails.items()
    }
    assert heavy["normal"] == 0 and heavy["products"] < 0.02
    assert heavy["Cauchy"] > 0.85 and heavy["log-normal"] > 0.85
    # Also where the noise would not be too large, and where a coordinate strays.
    for chains in (tails["Cauchy"], tails["log-normal"]):
        found = judge(chains, np.inf, 0.0, 1e-3)
        assert found.decision == "not decided" and "tails are so heavy" in found.reason
    assert judge(tails["products"], np.inf, 0.0, 1e-3).decision == "unbiased"


@pytest.mark.parametrize(("num_heavy", "decision"), [(1, "unbiased"), (5, "not decided")])
def test_a_tenth_of_heavy_coordinates_is_too_many(num_heavy, decision):
    """Where none of them is the one that strays most."""
    chains = np.random.default_rng(0).normal(size=(1000, 40))
    chains[:, 39] += 0.1
    for coordinate in range(num_heavy):
        chains[:2, coordinate] = 1e3, -1e3
    assert judge(chains, np.inf, 0.0, 1e-3).decision == decision
