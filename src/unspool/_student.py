"""Student's t distribution, right in far tails too.

Without SciPy, which the core does not ask for, and without JAX, whose precision is the user's
choice: a level of one in a million needs more than float32.
"""

import math

_TINY = 1e-300


def two_sided(t: float, degrees: int) -> float:
    """The probability that Student's t is at least as far from zero as `t`."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def quantile(upper_tail: float, degrees: int) -> float:
    """The value that Student's t exceeds with probability `upper_tail`, below one half."""
    low, high = 0.0, 1.0
    while two_sided(high, degrees) > 2 * upper_tail:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        if two_sided(middle, degrees) > 2 * upper_tail:
            low = middle
        else:
            high = middle
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function $I_x(a, b)$."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(scale + a * math.log(x) + b * math.log1p(-x))
    # The fraction converges fast on this side of the mean; the other is its mirror image.
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by the method of Lentz."""
    above, below = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or _TINY)
    product = below
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            below = 1 / ((1 + term * below) or _TINY)
            above = (1 + term / above) or _TINY
            product *= above * below
        if abs(above * below - 1) < 1e-15:
            break
    return product
