"""The shapes and trees that public signatures speak of, named once."""

from typing import Any

from jaxtyping import Array, Bool, Float, Int, Key, Real

Params = Any
"""Any pytree of floating point arrays."""

State = Any
"""Any pytree of arrays: floats, integers, booleans and typed keys."""

Scalar = Float[Array, ""]
IntScalar = Int[Array, ""]
BoolScalar = Bool[Array, ""]
RandomKey = Key[Array, ""]

Clocks = Int[Array, " workers"]
WorkerMask = Bool[Array, " workers"]
WorkerValues = Float[Array, " workers"]
RowMask = Bool[Array, "arms workers"]
RowLosses = Float[Array, "arms workers"]

RealScalar = Real[Array, ""] | float | int
"""What a user's step may return as its loss."""
