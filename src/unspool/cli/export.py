"""`unspool export`: the learned optimizer of a meta-training as one file."""

import shlex
from typing import Annotated, Literal

from .. import export as _export
from ..export.optimizer_class import class_name
from .parse import Help
from .run_config import open_run


def export(
    run: Annotated[str, Help("the directory of a run", metavar="RUN")],
    /,
    *,
    file: Annotated[str | None, Help("where to write", "RUN/optimizer.safetensors")] = None,
    update: Annotated[
        int | Literal["best"] | None,
        Help("update whose checkpoint to take, or best, by evaluations", "the newest", "INT|best"),
    ] = None,
) -> None:
    """Write the learned optimizer of a meta-training into one file.

    RUN is the directory of an `unspool train` whose problem is an instance of
    unspool.problems.learned_optimizer.OptimizerTraining, or a JointProblem of several. The file is
    read by unspool.export.load_optimizer, which makes an optax optimizer of it, and by `unspool
    apply`.
    """
    exported = _export.save_run(open_run(run), file, update=update)
    name = class_name(type(exported.optimizer))
    own = name.rpartition(":")[2] if ":" in name else None
    path = str(exported.file)
    print(path)
    print(
        f"in Python: unspool.export.load_optimizer({path!r}"
        + (f", optimizer={own})" if own else ")")
        + f", for optax; to try it: unspool apply {shlex.quote(path)} FILE.py:TASK"
        + (f" --optimizer FILE.py:{own}" if own else ""),
        flush=True,
    )
