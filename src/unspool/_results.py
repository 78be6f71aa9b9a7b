"""Outcomes of an estimate, with messages that help."""

import equinox as eqx


class RESULTS(eqx.Enumeration):
    """The outcome of one estimate. `RESULTS[outcome]` gives its message."""

    successful = ""
    dropped_workers = (
        "Some workers returned a loss that is not finite; they were left out of the estimate "
        "until they begin a new episode. Likely causes: a perturbation that leaves the stable "
        "region, or overflow in float32. If it happens often, try a smaller sigma, a smaller "
        "learning rate or float64."
    )
    dropped_derivatives = (
        "Some workers have finite losses and a derivative that is not finite; they were left out "
        "of the estimate until they begin a new episode. Likely causes: a function without a "
        "derivative where it was evaluated, such as sqrt at 0 or a norm at the origin, or "
        "derivatives that overflow. Guard the function with jnp.where on its argument, or try an "
        "estimator that needs no derivatives, such as NRES."
    )
    all_workers_dropped = (
        "Every worker returned a loss that is not finite, or waits for the end of an episode in "
        "which it had failed, so there is no estimate. Likely causes: the parameters have left the "
        "stable region (try a smaller learning rate or gradient clipping), the loss is undefined "
        "at the start parameters, or a step overflows."
    )
    counts_ran_out = (
        "Episodes or updates have no numbers left, and randomness would come again, so there is no "
        "estimate. Go on with a new state from another key, or count in 64 bits: "
        'jax.config.update("jax_enable_x64", True).'
    )
    nonfinite_gradient = (
        "The losses are finite but the gradient is not. Derivatives through a long unroll grow "
        "exponentially when the computation is chaotic: try a shorter window, float64, or an "
        "estimator that needs no derivatives, such as NRES."
    )


_NAMES = {
    RESULTS[getattr(RESULTS, name)]: name
    for name in (
        "successful",
        "dropped_workers",
        "dropped_derivatives",
        "all_workers_dropped",
        "counts_ran_out",
        "nonfinite_gradient",
    )
}


def name_result(result: RESULTS) -> str:
    """The name of an outcome, outside of compiled code."""
    return _NAMES[RESULTS[result]]
