"""Environments of Brax by name."""

import contextlib
import functools as ft
import io
import warnings
from typing import Any

from ..._wrapper import AbstractWrapper
from .jax_environment import JaxEnvironment
from .linear_policy import LinearPolicy
from .mujoco_rows import use_headless_rendering
from .policy import AbstractPolicy


class BraxEnvironment(AbstractWrapper):
    """A policy in an environment of Brax, named by what `brax.envs` calls it.

    It is a `JaxEnvironment`, whose description says what counts. Actions beyond [-1, 1] are left
    to the environment unless they are clipped.

    **Arguments:**

    - `id`: `"inverted_pendulum"`, `"ant"`, `"halfcheetah"`, ...
    - `backend`: the physics, `"spring"`, `"positional"`, `"generalized"` or `"mjx"`.
    - `horizon`: steps of an episode at most.
    - `policy`: what makes actions of observations.
    - `clip_actions`: whether to clip actions to [-1, 1].

    **Raises:** `ValueError` for names that Brax does not know; `ImportError` without Brax.
    """

    id: str = "inverted_pendulum"
    backend: str = "spring"
    horizon: int = 1000  # pyright: ignore[reportIncompatibleMethodOverride]
    policy: AbstractPolicy = LinearPolicy()
    clip_actions: bool = False

    def __check_init__(self):
        _ = self.inner

    @property
    def inner(self) -> JaxEnvironment:
        """The same around the environment itself, with which to render, for example."""
        environment = _make(self.id, self.backend)
        return JaxEnvironment(environment, self.horizon, self.policy, self.clip_actions)


@ft.lru_cache
def _make(id: str, backend: str) -> Any:
    """One for each name: compiled programs are looked up by the environment they were made for."""
    use_headless_rendering()
    try:
        # The import prints that an optional package of Nvidia is not there, and warns of packages
        # that Brax should not use any more.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import brax.envs
    except ImportError as error:
        raise ImportError(
            "this problem needs Brax, which is not there: pip install 'unspool[brax]'"
        ) from error
    try:
        return brax.envs.get_environment(id, backend=backend)
    except (KeyError, ValueError) as error:
        raise ValueError(f"brax.envs has no {id!r} with backend {backend!r}: {error}") from error
