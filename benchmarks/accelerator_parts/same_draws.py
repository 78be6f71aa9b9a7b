"""Random numbers that float32 and float64 have in common."""

import contextlib
import functools as ft
import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

NARROW = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32}


@contextlib.contextmanager
def same_draws():
    """Lets float64 programs draw what those in float32 draw.

    A generator gives other numbers in float64 than in float32. In here, everything in `jax.random`
    that has a shape to draw draws in float32, and the numbers are then taken as float64 ones.
    """
    with contextlib.ExitStack() as patches:
        for name, sampler in vars(jax.random).items():
            if name.startswith("_") or not inspect.isfunction(inspect.unwrap(sampler)):
                continue
            if name == "permutation" or "shape" in inspect.signature(sampler).parameters:
                patches.enter_context(mock.patch.object(jax.random, name, draw_narrow(sampler)))
        yield


def draw_narrow(sampler):
    @ft.wraps(sampler)
    def draw(*arguments, **options):
        if not jax.config.jax_enable_x64:
            return sampler(*arguments, **options)
        with jax.enable_x64(False):
            narrow = [narrowed(x) for x in arguments]
            drawn = sampler(*narrow, **{name: narrowed(x) for name, x in options.items()})
        return drawn.astype(jnp.float64) if drawn.dtype == jnp.float32 else drawn

    return draw


def narrowed(value):
    """A type, or numbers of it, in half of the bits."""
    if isinstance(value, jax.Array | np.ndarray) and value.dtype.name in NARROW:
        return value.astype(NARROW[value.dtype.name])
    with contextlib.suppress(TypeError):
        return NARROW.get(np.dtype(value).name, value) if is_type(value) else value
    return value


def is_type(value):
    return isinstance(value, type | np.dtype) or hasattr(value, "dtype") and callable(value)
