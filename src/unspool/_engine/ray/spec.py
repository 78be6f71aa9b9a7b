"""The specification of a problem that a process of the cluster needs."""

import sys
import sysconfig
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import ray
from ray import cloudpickle

from ..._black_box import AbstractBlackBox, HostParams, HostState
from ..._params import map_arrays


def make_spec(problem: AbstractBlackBox, params: HostParams, state: HostState) -> list[Any]:
    """A problem, trees like those of its parameters and states, and how many leaves these have.

    What is defined in the user's own files goes along with it; what is installed must be installed
    on the other machines too. It is an object of Ray's within a list, which keeps Ray from sending
    all of it with every task.
    """
    trees = map_arrays(lambda x: x[:0], (params, state))
    num_leaves = [len(jax.tree.leaves(eqx.filter(tree, eqx.is_array))) for tree in trees]
    modules = {kind.__module__.partition(".")[0] for kind in type(problem).__mro__}
    own = [sys.modules[name] for name in sorted(modules) if not _is_installed(name)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        spec = (problem, trees, num_leaves)
        return [ray.put(cloudpickle.dumps(spec))]  # pyright: ignore[reportPrivateImportUsage]
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_installed(name: str) -> bool:
    """True for a module that is sure to be found by its name, on other machines too."""
    module = sys.modules.get(name)
    if module is None or name in {"__main__", "unspool"} or name in sys.stdlib_module_names:
        # What has no module that can be looked up is sent along in any case.
        return True
    files = [getattr(module, "__file__", None), *getattr(module, "__path__", [])]
    homes = [Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")]
    found = [Path(file).resolve() for file in files if file]
    return any(home in file.parents for home in homes for file in found)
