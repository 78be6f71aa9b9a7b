"""`unspool --print-completion SHELL`: a script that completes commands and options."""

import contextlib
import io
from collections.abc import Sequence

import tyro

from .._config.options import Option
from .apply import apply
from .cite import cite
from .compare import comparison_options
from .errors import UsageError
from .export import export
from .list import list_
from .parse import make_record, options_of
from .play import play
from .report import report
from .train_config import training_options
from .tune import tuning_options

_SHELLS = "bash", "fish", "zsh"


def print_completion(argv: Sequence[str]) -> int:
    """Prints the script for a shell, to be put where that shell looks for it."""
    shell = argv[0] if argv else "none"
    if shell not in _SHELLS:
        raise UsageError(f"--print-completion must be one of {', '.join(_SHELLS)}, got {shell}")
    commands: dict[str, Sequence[Option]] = {
        "train": training_options(),
        "compare": comparison_options(),
        "tune": tuning_options("NAME"),
        "reproduce": [],
    }
    typed = report, export, apply, play, list_, cite
    commands |= {command.__name__.rstrip("_"): options_of(command) for command in typed}
    app, script = tyro.extras.SubcommandApp(), io.StringIO()
    for name, options in commands.items():
        app.command(make_record(name, options), name=name)
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        app.cli(prog="unspool", args=["--tyro-write-completion", shell, "-"])
    print(script.getvalue(), end="")
    return 0
