"""Cells for tests, built the way the command line builds them."""

import pytest

from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell


@pytest.fixture
def make_cell():
    """A function of axis values that gives the cell, synthetic data and short sequences."""

    def make(**axes):
        defaults = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16}
        return resolve_cell({**defaults, **axes}).cell

    return make


@pytest.fixture(scope="session")
def launcher():
    """One forkserver for all tests that need workers."""
    launcher = Launcher()
    launcher.begin_round(0)
    yield launcher
    launcher.close()
