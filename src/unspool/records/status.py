"""The contents of `status.json`: how a run ended."""

from typing import Literal

from msgspec import Struct, field

from .files import FORMAT

State = Literal["running", "finished", "stopped", "diverged", "failed"]


class Status(Struct, frozen=True):
    """The end of a run, and why it came; one that was killed is called `running`.

    A run that somebody stopped may go on. One that has diverged cannot, which is an outcome; one
    that failed may be tried again.
    """

    state: State = field(name="status")
    message: str = ""
    format: int = FORMAT
