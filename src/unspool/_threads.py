"""One thread per process: the one place that says so."""

import os


def use_one_thread() -> None:
    """Lets XLA compute with one thread on the CPU. To be called before the first computation.

    The small programs of this library lose by XLA's pool of threads; several cores are better used
    by several processes. A number that the user has set already is left alone.
    """
    os.environ.setdefault("NPROC", "1")
