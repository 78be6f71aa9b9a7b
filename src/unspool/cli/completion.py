"""`unspool --print-completion SHELL`: a script that completes commands and options."""

import contextlib
import io
from collections.abc import Sequence

import tyro

from .._config.options import Option
from . import apply, cite, export, list, play, report, tune
from .errors import UsageError
from .options import make_record
from .train_config import training_options

_SHELLS = "bash", "fish", "zsh"


def print_completion(argv: Sequence[str]) -> int:
    """Prints the script for a shell, to be put where that shell looks for it."""
    shell = argv[0] if argv else "none"
    if shell not in _SHELLS:
        raise UsageError(f"--print-completion must be one of {', '.join(_SHELLS)}, got {shell}")
    commands: dict[str, Sequence[Option]] = {
        "train": training_options(),
        "report": report.OPTIONS,
        "tune": tune.tuning_options("NAME"),
        "export": export.OPTIONS,
        "apply": apply.apply_options(""),
        "play": play.OPTIONS,
        "reproduce": [],
        "list": list.OPTIONS,
        "cite": cite.OPTIONS,
    }
    app, script = tyro.extras.SubcommandApp(), io.StringIO()
    for name, options in commands.items():
        app.command(make_record(name, options), name=name)
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        app.cli(prog="unspool", args=["--tyro-write-completion", shell, "-"])
    print(script.getvalue(), end="")
    return 0
