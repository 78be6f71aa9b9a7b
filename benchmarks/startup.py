"""What a user waits for besides arithmetic: CPU seconds of whole processes, and of small calls.

    python benchmarks/startup.py

Commands are run in a home of their own, so that the first finds no compiled program on disk. Ratios
are to the import of JAX and its first device in the same run, or to what is named beside them.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

import jax
import optax

import unspool

IMPORT = "import jax; jax.devices()[0]; jax.numpy.zeros(1)"
TRAIN = "train lorenz nres --num-updates 1000".split()


def main():
    with tempfile.TemporaryDirectory() as home:
        whole = {"import JAX and a device": cpu(["-c", IMPORT], home)}
        whole["unspool --help"] = cpu(["-m", "unspool.cli", "--help"], home)
        for name in ("1000 updates of Lorenz, cold", "the same, a second time"):
            whole[name] = cpu(["-m", "unspool.cli", *TRAIN], home)
    unit = whole["import JAX and a device"]
    for name, seconds in whole.items():
        print(f"{name:<32}{seconds:8.2f} CPU s {seconds / unit:8.2f} imports of JAX")
    problem, key = unspool.problems.Lorenz(), jax.random.key(0)
    params = problem.init_params(key=key)
    run = lambda: jax.block_until_ready(
        unspool.evaluate(problem, params, key=key, num_episodes=100)
    )
    print(f"{'evaluate, 100 episodes':<32}{1000 * per_call(run, 100):8.2f} CPU ms")
    often, rarely = per_update(1), per_update(1000)
    print(
        f"{'an update with a record':<32}{1000 * often:8.2f} CPU ms {often / rarely:8.2f} updates"
    )


def cpu(arguments: list[str], home: str) -> float:
    """The CPU seconds of a process of Python, and of those that it starts."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        env=inherited | {"HOME": home}, cwd=home, check=True, capture_output=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def per_call(call, count: int) -> float:
    call()
    began = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - began) / count


def per_update(log_every: int) -> float:
    """CPU seconds of an update of Lorenz with a record every so many, past the first ones."""
    job = unspool.problems.Lorenz(), unspool.NRES(200, 100, 0.04), optax.adam(0.01)
    key = jax.random.key(0)
    records = unspool.train(*job, num_updates=3000, key=key, log_every=log_every)
    while next(records).update < 1000:
        pass
    began = time.process_time()
    for _ in records:
        pass
    return (time.process_time() - began) / 2000


if __name__ == "__main__":
    main()
