"""An empty folder for installed data sets, and the message of an error that must be raised."""

import pytest

from unspool.data import search_path


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """An empty folder instead of the one that data sets may be installed in on this computer."""
    monkeypatch.setattr(search_path, "SYSTEM_DIRECTORY", tmp_path / "system")
    return tmp_path / "system"


def error_of(kind, call):
    """The message of the error that a call must raise, which must be one sentence."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert type(caught.value) is kind and "\n" not in message and not message.endswith(".")
    return message
