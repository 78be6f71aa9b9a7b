"""Files of the settings of comparisons and trainings: what is read, written and refused."""

import sys
from pathlib import Path

import pytest

from unspool import CompareConfig, ConfigError, Spec, TrainConfig


@pytest.fixture(autouse=True)
def here(tmp_path_factory, monkeypatch):
    """A directory of its own, which is the current one."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))


FILE = """
num_updates = 6
seeds = 2
learning_rates = [0.1, 1]
problem = "own.py:Walk"
[estimators]
PES = "pes"
[estimators.NRES]
name = "nres"
options = { window = 2 }
"""


@pytest.mark.parametrize("suffix", ["json", "toml", "yaml"])
def test_settings_are_read_and_written_in_every_form(suffix, tmp_path):
    Path("file.toml").write_text(FILE)
    config = CompareConfig.read("file.toml")
    assert config.estimators == {"PES": Spec("pes"), "NRES": Spec("nres", {"window": 2})}
    assert config.learning_rates == (0.1, 1.0) and config.problem == Spec("own.py:Walk")
    config.write(tmp_path / f"other.{suffix}")
    assert CompareConfig.read(tmp_path / f"other.{suffix}").estimators == config.estimators
    train = TrainConfig(problem=config.problem, estimator=Spec("nres"), seconds=2.0)
    train.write(f"train.{suffix}")
    assert TrainConfig.read(f"train.{suffix}") == train


MALFORMED = {
    "'estimators': 'NRES': 'name' is missing; it must be a text": ("name = ", "# "),
    "'learning_rates', entry 2 is \"1\", but must be a number": ("1]", '"1"]'),
    "there is no setting 'seedz'; did you mean seeds?": ("seeds", "seedz"),
    "'estimators': 'PES' holds 3, but must hold a JSON object": ('"pes"', "3"),
}


@pytest.mark.parametrize("said", MALFORMED)
def test_a_file_is_refused_with_place_and_legal_values(said):
    Path("file.toml").write_text(FILE.replace(*MALFORMED[said]))
    with pytest.raises(ConfigError) as raised:
        CompareConfig.read("file.toml")
    assert str(raised.value) == f"file.toml: {said}"


def test_what_toml_cannot_hold(tmp_path, monkeypatch):
    Path("file.toml").write_text(FILE)
    config = TrainConfig(problem=Spec("own.py:Walk", {"goal": None}), estimator=Spec("nres"))
    with pytest.raises(ConfigError, match="'goal' in 'problem' is None, which TOML cannot hold"):
        config.write(tmp_path / "settings.toml")
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(ConfigError, match=r"writing TOML needs tomli_w.*pip install 'unspool\[cli"):
        CompareConfig.read("file.toml").write(tmp_path / "settings.toml")
