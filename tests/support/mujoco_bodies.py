"""What the tests of bodies in MuJoCo share; without MuJoCo they are skipped."""

import sys
import types

import jax
import numpy as np
import pytest

from support.episodes import is_done
from unspool.problems.control.mujoco_rows import import_mujoco

gymnasium = pytest.importorskip("gymnasium")
try:
    # The library's own way, which looks for something to draw with. Tests are collected before the
    # first one can import it in another.
    import_mujoco()
except ImportError:
    pytest.skip("there is no MuJoCo here", allow_module_level=True)

KEY = jax.random.key(0)
SEEDS = np.array([0, 7, 2**32 + 5, 2**63 + 11], np.uint64)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """MuJoCo writes what it warns of into the working directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("mujoco"))
        # Gymnasium's MuJoCo environments import what they write films with.
        try:
            import imageio  # noqa: F401
        except ImportError:
            patch.setitem(sys.modules, "imageio", types.ModuleType("imageio"))
        yield


def weights_of(problem, count, scale=0.3, seed=0):
    """A matrix for each row; the later the row, the wilder."""
    shape = problem.init_params(key=KEY).shape
    wildness = scale * np.linspace(0.2, 1.0, count)[:, None, None]
    return (wildness * np.random.default_rng(seed).normal(size=(count, *shape))).astype(np.float32)


def play(problem, params, seeds, num_steps):
    """Observations, rewards and ends of each step, and the last state, in rows of several."""
    state = problem.init_state(params, seeds=seeds)
    history = []
    for t in range(num_steps):
        state, losses = problem.step(params, state, np.full(len(seeds), t), seeds=seeds)
        history.append((problem.observe(state), losses, is_done(problem, state)))
    return [np.stack(values) for values in zip(*history, strict=True)], state
