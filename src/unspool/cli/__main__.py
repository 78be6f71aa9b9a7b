"""The program `unspool`: finds the command, and turns errors into one line."""

import importlib
import sys
from collections.abc import Sequence

from .._cache import cache_for_commands
from .._config.errors import ConfigError, suggest
from .._config.extras import describe_missing
from .._threads import use_one_thread
from .errors import RunFailure, UsageError, print_error, reportable_errors
from .pipes import survive_closed_pipes

COMMANDS = {
    "train": "train a problem's parameters with an estimator, or go on with a run",
    "compare": "compare estimators on a problem, with several seeds and learning rates",
    "report": "write a page of figures and tables about runs",
    "tune": "tune the hyperparameters of a training run of yours",
    "export": "write the learned optimizer of a meta-training into a file",
    "apply": "train a model of yours with it, against tuned Adam and SGD",
    "play": "show what a trained policy does",
    "reproduce": "run an experiment from the literature, with its report",
    "list": "list problems, estimators and experiments",
    "cite": "print BibTeX",
}

_HELP = """\
usage: unspool COMMAND [options]

Unbiased gradients through long unrolled computations, one window at a time.

commands:
{}

options:
  --help     this text; after a command, what it takes
  --version  the version
  --no-cache before a command: compile every program anew, and keep none on disk
  --print-completion bash|fish|zsh
             a script that completes commands and options in that shell

Set UNSPOOL_TRACEBACK=1 to see where an error in your own code comes from."""

_WITH_NAMES = "compare", "reproduce", "train", "tune"
"""The commands that take options of what is named first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 1: a run failed; 2: a usage error; 130: stopped by Ctrl-C."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    use_one_thread()
    if argv[:1] == ["--no-cache"]:
        del argv[0]
    else:
        cache_for_commands()
    with survive_closed_pipes():
        return _report_errors(argv)


def _report_errors(argv: list[str]) -> int:
    try:
        return _dispatch(argv)
    except (UsageError, ConfigError) as error:
        print_error(str(error))
        return 2
    except RunFailure as error:
        print_error(str(error))
        return 1
    except ModuleNotFoundError as error:
        if (sentence := describe_missing(error)) is None:
            raise
        print_error(sentence)
        return 2
    except KeyboardInterrupt:
        print_error("stopped")
        return 130
    except reportable_errors() as error:
        print_error(str(error))
        return 2


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_HELP.format("\n".join(f"  {name:<9}  {does}" for name, does in COMMANDS.items())))
        return 0
    if argv[0] == "--version":
        from .._citation import version

        print(f"unspool {version()}")
        return 0
    if argv[0] == "--print-completion":
        from .completion import print_completion

        return print_completion(argv[1:])
    name, *rest = argv
    try:
        return _run(name, rest)
    except SystemExit as ending:  # A command after it has printed its help.
        return int(ending.code or 0)


def _run(name: str, argv: list[str]) -> int:
    """Imports what the command needs, and no more."""
    if name not in COMMANDS:
        raise UsageError(f"there is no command {name!r}{suggest(name, COMMANDS)}")
    # JAX takes seconds to import: before it, it is said what is going on.
    if name in ("compare", "train") and len(argv) > 1 and not {"--help", "-h"} & set(argv):
        named = next((word for word in argv if not word.startswith("-")), argv[0])
        print(f"loading   JAX and {named}", flush=True)
    module = vars(importlib.import_module(f".{name}", __package__))
    if name in _WITH_NAMES:
        return module[name](argv)
    from .parse import call

    return call(module.get(f"{name}_") or module[name], argv, f"unspool {name}")


if __name__ == "__main__":
    sys.exit(main())
