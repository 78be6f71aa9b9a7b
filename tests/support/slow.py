"""Tests that take long, and of which most is found by others too."""

import pytest


def slow(*values, when=True, id=None, marks=()):
    """A set of a test's parameters that only `make acceptance` runs; `when` says of which."""
    return pytest.param(*values, id=id, marks=[*marks, *([pytest.mark.slow] if when else [])])
