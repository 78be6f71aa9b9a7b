"""One setting for every test: four fake devices, float32, no silent broadcasting, checked shapes.

JAX reads its settings when it is first imported, so they stand before the import. They go through
the environment so that a test which starts another process has them there too.
"""

import importlib.metadata
import os

# Programs here are compiled once and run for a moment: optimizing them would take longer.
os.environ["XLA_FLAGS"] = " ".join(
    (
        "--xla_force_host_platform_device_count=4",
        "--xla_backend_optimization_level=0",
        # Compiles in half the time. Later versions have no such flag, and stop at unknown ones.
        "--xla_cpu_use_fusion_emitters=false"
        if importlib.metadata.version("jaxlib").startswith("0.10.")
        else "",
        os.getenv("XLA_FLAGS", ""),
    )
)
os.environ["JAX_ENABLE_X64"] = "0"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# The fake devices are CPU devices, whatever else the machine has.
os.environ["JAX_PLATFORMS"] = "cpu"
# XLA sizes its thread pool by this. The tests already run in one process per core, and a second
# thread in each only burns time.
os.environ["NPROC"] = "1"
# MuJoCo reads it when it is first imported, whoever does that.
os.environ.setdefault("MUJOCO_GL", "egl")

import jax
import jaxtyping
import pytest

# Must come before the first import of unspool: only modules imported later are checked.
jaxtyping.install_import_hook("unspool", "beartype.beartype")


@pytest.fixture
def float64():
    """Turns on float64 for one test, for comparisons with a closed form."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def key():
    """The root key of a test that needs only one."""
    return jax.random.key(0)
