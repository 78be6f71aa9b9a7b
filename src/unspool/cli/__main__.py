"""The program `unspool`: finds the command, and turns errors into one line."""

import os
import re
import sys
from collections.abc import Sequence

from .._citation import version
from .._threads import use_one_thread
from .mistakes import SAID_IN_ONE_SENTENCE, Failure, Mistake, complain, suggest

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

Set UNSPOOL_TRACEBACK=1 to see where an error in your own code comes from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 1: a run failed; 2: a mistake; 130: stopped by Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    use_one_thread()
    try:
        return _dispatch(words)
    except Mistake as mistake:
        complain(str(mistake))
        return 2
    except SAID_IN_ONE_SENTENCE as error:
        complain(str(error))
        return 2
    except Failure as failure:
        complain(str(failure))
        return 1
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        complain(f"this needs {error.name}, which is not there: pip install 'unspool[{extra}]'")
        return 2
    except KeyboardInterrupt:
        complain("stopped")
        return 130
    except BrokenPipeError:
        # The reader, `head` for instance, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP)
        return 0
    if words[0] == "--version":
        print(f"unspool {version()}")
        return 0
    name, *rest = words
    try:
        return _run(name, rest)
    except SystemExit as ending:  # A command after it has printed its help.
        return int(ending.code or 0)


def _run(name: str, words: list[str]) -> int:
    """Imports what the command needs, and no more."""
    if name == "train":
        from .train import train

        return train(words)
    if name == "report":
        from .report import report

        return report(words)
    if name == "tune":
        from .tune import tune

        return tune(words)
    if name == "export":
        from .export import export

        return export(words)
    if name == "apply":
        from .apply import apply

        return apply(words)
    if name == "play":
        from .play import play

        return play(words)
    if name == "reproduce":
        from .reproduce import reproduce

        return reproduce(words)
    if name == "list":
        from .list import list_choices

        return list_choices(words)
    if name == "cite":
        from .cite import cite

        return cite(words)
    commands = re.findall(r"^  (\w+)  ", _HELP, re.MULTILINE)
    raise Mistake(f"there is no command {name!r}{suggest(name, commands)}")


if __name__ == "__main__":
    sys.exit(main())
