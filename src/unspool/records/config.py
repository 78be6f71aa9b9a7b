"""The contents of `config.json`: what is trained, with which settings."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

CONFIG_FORMAT = 2
"""The newest format: it holds settings that the run is built again from."""


class Setting(Struct, frozen=True):
    """A problem, an optimizer or an experiment: its name and its options."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


class EstimatorSetting(Setting, frozen=True, kw_only=True):
    """An estimator, and what it estimates."""

    estimand: str


class Config(Struct, frozen=True, kw_only=True):
    """The settings of a run that can be shown beside others; there may be more in the file.

    `settings` are those of a run in the newest format, `fingerprints` the digests of the user's
    files that they name, and `references` keys of papers, as `unspool.cite` knows them.
    """

    format: int
    experiment: Setting | None = None
    unspool: str | None = None
    problem: Setting
    estimator: EstimatorSetting
    optimizer: Setting
    label: str
    seed: int
    num_updates: int
    num_params: int
    parameter_names: Sequence[str] | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] | None = None
    fingerprints: dict[str, str] | None = None
    references: Sequence[str] = ()
