"""A test for bias by the deviations of independent chains."""

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from ._student import quantile, two_sided

Decision = Literal["unbiased", "biased", "not decided"]

PerCoordinate = Float[np.ndarray, " params"]

_POWER = 0.9
_TOP = 3
# A larger one is that of a few chains, and would explain any deviation away.
_LARGEST_SKEWNESS = 1.5
# A run that would not have seen the gradient turned around has decided nothing.
_LARGEST_BLIND_SPOT = 2.0


class Statistics(NamedTuple):
    """Deviations, coordinate by coordinate.

    - `z`: the mean in standard errors, rounding included; Student's statistic.
    - `t`: the same without what skewed noise does to it; what is judged.
    - `noise`, `error`: standard error of the mean, without and with rounding.
    - `top_share`: the share of the sum of squares that the largest few chains hold.
    """

    z: PerCoordinate
    t: PerCoordinate
    noise: PerCoordinate
    error: PerCoordinate
    top_share: PerCoordinate

    @classmethod
    def of(
        cls, deviation: Float[np.ndarray, "chains params"], rounding: PerCoordinate | float
    ) -> "Statistics":
        r"""Summarizes the deviations of independent chains.

        Skewed noise (a squared Gaussian, say) makes Student's statistic stray too far on one side,
        where Hall's (1992) transformation,
        $$ q + \tfrac{1}{3} \gamma q^2 + \tfrac{1}{27} \gamma^2 q^3 + \gamma / (6 n), \qquad
           q = t / \sqrt{n}, $$
        with the skewness $\gamma$ of $n$ chains corrects it. Heavy but symmetric noise makes
        Hall's stray, where Student's does not. The one nearer to zero is kept.
        """
        num_chains = len(deviation)
        mean = deviation.mean(0)
        centered = deviation - mean
        squares = centered**2
        whole = squares.sum(0)
        noise = np.sqrt(whole / (num_chains - 1) / num_chains)
        error = np.hypot(noise, rounding)
        at_least = np.maximum(error, np.finfo(float).tiny)
        z = mean / at_least
        spread = np.sqrt(whole / num_chains)
        skewness = _divide(np.mean(centered**3, axis=0), spread**3) * (noise / at_least) ** 3
        skewness = np.clip(skewness, -_LARGEST_SKEWNESS, _LARGEST_SKEWNESS)
        q = z / math.sqrt(num_chains)
        moved = q + skewness * q**2 / 3 + skewness**2 * q**3 / 27 + skewness / (6 * num_chains)
        t = np.minimum(np.abs(z), np.abs(moved) * math.sqrt(num_chains))
        top = np.partition(squares, num_chains - _TOP, axis=0)[-_TOP:].sum(0)
        return cls(z, t, noise, error, _divide(top, whole))


class Verdict(NamedTuple):
    """The finding of a test for bias.

    - `decision`: one of the three, and `reason`, why.
    - `p_value`: corrected for the number of coordinates.
    - `detectable`: of each coordinate, the bias that would have been seen nine times of ten.
    - `statistics`: what it follows from.
    """

    decision: Decision
    reason: str
    p_value: float
    detectable: PerCoordinate
    statistics: Statistics


def judge(
    deviation: Float[np.ndarray, "chains params"],
    scale: float,
    rounding: PerCoordinate | float,
    level: float,
) -> Verdict:
    """Tests whether the mean deviation is zero in all coordinates, with Bonferroni's correction.

    **Arguments:**

    - `deviation`: of each chain, from what its mean should be.
    - `scale`: the size of the gradient, which says what is a large bias.
    - `rounding`: an error that is not noise, of all coordinates or of each.
    - `level`: how improbable a deviation must be to count.
    """
    num_chains, size = deviation.shape
    degrees = num_chains - 1
    with np.errstate(invalid="ignore", over="ignore"):
        found = Statistics.of(deviation, rounding)
    reach = quantile(level / (2 * size), degrees) + quantile(1 - _POWER, degrees)
    detectable = reach * found.error
    # Where the error is no finite number, neither is the statistic.
    if not np.all(np.isfinite(found.t)):
        reason = "a mean, or what it should be, is no finite number"
        return Verdict("biased", reason, 0.0, detectable, found)
    p_value = min(1.0, size * two_sided(float(np.max(found.t)), degrees))
    blind = float(np.max(detectable))
    if _is_heavy(found, num_chains):
        decision = "not decided"
        reason = (
            f"{_TOP} of {num_chains} chains make up most of the variance: tails are so heavy that "
            "the standard error cannot be trusted"
        )
    elif p_value < level:
        decision = "biased"
        reason = f"an unbiased mean strays as far with a probability of {p_value:.2g}"
    elif blind > _LARGEST_BLIND_SPOT * scale:
        decision = "not decided"
        reason = (
            f"a bias below {blind:.3g} would have gone unseen, and the gradient is {scale:.3g}: it "
            "takes more chains, or less noise"
        )
    else:
        decision = "unbiased"
        reason = f"a bias of {blind:.3g} would have been seen, and the gradient is {scale:.3g}"
    return Verdict(decision, reason, p_value, detectable, found)


def _is_heavy(found: Statistics, num_chains: int) -> bool:
    """True if the standard error of the coordinate judged, or of a tenth of all, hangs on a few
    chains."""
    heavy = (found.top_share > largest_share(num_chains)) & (found.noise >= found.error / 2)
    return bool(heavy[np.argmax(found.t)] or heavy.mean() > 0.1)


def largest_share(num_chains: int) -> float:
    """The share of the variance that the largest few may hold.

    Of products of four Gaussians, averaged over eight episodes, which noisy estimates resemble,
    they hold more once in a thousand runs: 0.94 of 30 chains, 0.83 of 100, 0.66 of 300, 0.44 of
    1000. Without a variance the share does not fall: with Cauchy's tails it is 0.88 of any number.
    """
    return max(0.4, 1 / (1 + (num_chains / 1000) ** 0.75))


def _divide(x, y):
    return np.divide(x, y, out=np.zeros_like(y), where=y > 0)
