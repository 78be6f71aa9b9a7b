"""The program `unspool`: finds the command, and turns errors into one line."""

import re
import sys
from collections.abc import Sequence

from .._config.errors import ConfigError, suggest
from .._threads import use_one_thread
from .errors import RunFailure, UsageError, print_error, reportable_errors
from .pipes import survive_closed_pipes

_EXTRAS = {
    "brax": "brax",
    "gymnasium": "control",
    "matplotlib": "cli",
    "mujoco": "control",
    "PIL": "control",
    "optuna": "experiments",
    "ray": "ray",
    "rich": "cli",
    "safetensors": "export",
    "tyro": "cli",
}

_HELP = """\
usage: unspool COMMAND [options]

Unbiased gradients through long unrolled computations, one window at a time.

commands:
  train      train a problem's parameters with an estimator, or go on with a run
  report     write a page of figures and tables about runs
  tune       tune the hyperparameters of a training run of yours
  export     write the learned optimizer of a meta-training into a file
  apply      train a model of yours with it, against tuned Adam and SGD
  play       show what a trained policy does
  reproduce  run an experiment from the literature, with its report
  list       list problems, estimators and experiments
  cite       print BibTeX

options:
  --help     this text; after a command, what it takes
  --version  the version
  --print-completion bash|fish|zsh
             a script that completes commands and options in that shell

Set UNSPOOL_TRACEBACK=1 to see where an error in your own code comes from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 1: a run failed; 2: a usage error; 130: stopped by Ctrl-C."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    use_one_thread()
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
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print_error(f"this needs {error.name}, which is not there: pip install 'unspool[{extra}]'")
        return 2
    except KeyboardInterrupt:
        print_error("stopped")
        return 130
    except reportable_errors() as error:
        print_error(str(error))
        return 2


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_HELP)
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
    if name == "train":
        # JAX takes seconds to import: before it, it is said what is going on.
        if len(argv) > 1 and not {"--help", "-h"} & set(argv):
            named = next((word for word in argv if not word.startswith("-")), argv[0])
            print(f"loading   JAX and {named}", flush=True)
        from .train import train

        return train(argv)
    if name == "report":
        from .report import report

        return report(argv)
    if name == "tune":
        from .tune import tune

        return tune(argv)
    if name == "export":
        from .export import export

        return export(argv)
    if name == "apply":
        from .apply import apply

        return apply(argv)
    if name == "play":
        from .play import play

        return play(argv)
    if name == "reproduce":
        from .reproduce import reproduce

        return reproduce(argv)
    if name == "list":
        from .list import list_choices

        return list_choices(argv)
    if name == "cite":
        from .cite import cite

        return cite(argv)
    commands = re.findall(r"^  (\w+)  ", _HELP, re.MULTILINE)
    raise UsageError(f"there is no command {name!r}{suggest(name, commands)}")


if __name__ == "__main__":
    sys.exit(main())
