"""The contents of a file in `measured`: numbers that an experiment took without training."""

from typing import Any

from msgspec import Struct, field

from .config import Setting
from .files import FORMAT, Numbers


class Measured(Struct, frozen=True, kw_only=True):
    """Numbers of one label by seed, with what they depend on."""

    format: int = FORMAT
    experiment: Setting
    unspool: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    label: str
    values: dict[int, Numbers]
