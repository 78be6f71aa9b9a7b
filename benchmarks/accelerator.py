"""What an accelerator gets out of this library, in one run of eight minutes at most.

    PYTHONPATH=src python benchmarks/accelerator.py --out DIR [--data DIR] [--packages DIR]

Needs JAX, NumPy, equinox, optax and jaxtyping, and no network. Writes `DIR/accelerator.json` after
every row and prints a table last. `--resume` keeps the rows that are in the file and goes on with
the others; a meta-training that was cut off goes on from its checkpoint. `--data` is a folder with
the IDX files of Fashion-MNIST. `--small` is the same in seconds, to see that it works.
"""

import argparse
import importlib.util
import os
import sys
import threading
import time
from pathlib import Path

PACKAGES = ("jax", "numpy", "equinox", "optax", "jaxtyping")
# Parts end so long before the time is up, for a row that has begun is finished; the process ends
# in any case with so much left to print the table.
RESERVE_SECONDS, PRINT_SECONDS = 25.0, 5.0


def main(arguments=None):
    began = time.monotonic()
    options = parse(arguments)
    if options.packages:
        # Last: what the machine has is made for its device.
        sys.path.append(str(options.packages))
    check_packages()
    prepare_jax()
    check_device(options.small)
    from accelerator_parts import PARTS
    from accelerator_parts.part import Settings, run_part
    from accelerator_parts.results import Results
    from accelerator_parts.table import format_table

    settings = Settings(options.out, options.data, options.small)
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    results = Results.open(settings, resume=options.resume)
    print_table = lambda: print(format_table(PARTS, results.read()), flush=True)
    end = began + 60 * options.minutes - PRINT_SECONDS
    watch = threading.Timer(end - time.monotonic(), stop, [print_table])
    watch.daemon = True
    watch.start()
    seconds = 60 * options.minutes - RESERVE_SECONDS
    share, whole = 0.0, sum(part.share for part in parts)
    try:
        for part in parts:
            share += part.share / whole
            # A part may use what the parts before it have left.
            run_part(part, settings, results, began + share * seconds)
    finally:
        watch.cancel()
        print_table()


def stop(print_table):
    """Ends the process: a compilation or a loop on the device cannot be interrupted otherwise."""
    print_table()
    print("The time was up; --resume goes on from here.", flush=True)
    os._exit(0)


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True, help="where results are written")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there")
    parser.add_argument("--data", type=Path, help="the folder with the files of Fashion-MNIST")
    parser.add_argument("--packages", type=Path, help="a folder with Python packages")
    parser.add_argument("--small", action="store_true", help="small sizes: some seconds on a CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="the most that it may take")
    parser.add_argument("--only", action="append", metavar="PART", help="this part; repeatable")
    options = parser.parse_args(arguments)
    if options.packages and not options.packages.is_dir():
        parser.error(f"--packages must be a folder, got {options.packages}")
    if not 60 * options.minutes > RESERVE_SECONDS:
        parser.error(f"--minutes must be above {RESERVE_SECONDS / 60}, got {options.minutes}")
    return options


def check_packages():
    """Says in one sentence what has to be brought along."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(
            f"This needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}: unpack them "
            "into a folder (pip install --no-deps --target DIR ...) and give --packages DIR."
        )
    if importlib.util.find_spec("unspool") is None:
        raise SystemExit("This needs the package unspool: set PYTHONPATH to the folder src.")


def prepare_jax():
    """To be called before the first import of JAX."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms and "cpu" not in platforms.split(","):
        # The reference is computed on the CPU, whatever the accelerator.
        os.environ["JAX_PLATFORMS"] = f"{platforms},cpu"
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")


def check_device(small):
    """Eight minutes on a CPU are for those who ask for them, not for a device that is not seen."""
    import jax

    if jax.default_backend() == "cpu" and not small and os.environ.get("JAX_PLATFORMS") != "cpu":
        raise SystemExit(
            "JAX finds no accelerator here: install JAX for the device, or set JAX_PLATFORMS=cpu "
            "to measure the CPU."
        )


if __name__ == "__main__":
    main()
