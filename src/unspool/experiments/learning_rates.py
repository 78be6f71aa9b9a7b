"""The choice of a learning rate from runs with every rate of a grid."""

import numpy as np
from jaxtyping import Float


def best_rate(losses: Float[np.ndarray, "rates seeds"]) -> int:
    """The place of the rate at which the fewest runs diverge, and of these the lowest mean.

    A loss that is not finite is that of a run that diverged.
    """
    finite = np.isfinite(losses)
    count = finite.sum(axis=1)
    means = np.where(finite, losses, 0.0).sum(axis=1) / np.maximum(count, 1)
    return int(np.lexsort((means, -count))[0])


def is_at_edge(place: int, num_rates: int) -> bool:
    """True if the grid has no rate on one side of this one, which may be better."""
    return place in (0, num_rates - 1)
