"""The shapes and trees that public signatures speak of, named once."""

from typing import Any

from jaxtyping import Array, Bool, Float, Int, Key, Real

Params = Any
"""Any pytree; its real floating point arrays are what is trained."""

State = Any
"""Any pytree of arrays: floats, integers, booleans and typed keys."""

Scalar = Float[Array, ""]
IntScalar = Int[Array, ""]
BoolScalar = Bool[Array, ""]
RandomKey = Key[Array, ""]

KeyLike = Any
"""A key as public functions take it: one of `jax.random.key`, or an array of
`jax.random.PRNGKey`. Anything else is refused with a sentence."""

Clocks = Int[Array, " workers"]
WorkerMask = Bool[Array, " workers"]
WorkerValues = Float[Array, " workers"]
PairClocks = Int[Array, "pairs workers"]
PairMask = Bool[Array, "pairs workers"]
PairValues = Float[Array, "pairs workers"]
RowMask = Bool[Array, "arms workers"]
RowLosses = Float[Array, "arms workers"]

RealScalar = Real[Array, ""] | float | int
"""A loss as a user's step may return it."""
