"""Cells for tests, built the way the command line builds them."""

import pytest
from hypothesis import HealthCheck, settings

from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import resolve_cell

# Shared machines stall now and then; speed is measured in benchmarks, never in a test.
settings.register_profile("alignmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("alignmeter")


@pytest.fixture
def make_cell():
    """A function of axis values that gives a cell: synthetic data, short sequences, stock kernels.

    Stock, because a custom cell that no packaged reference covers has one computed first, in a
    worker of its own.
    """

    def make(**axes):
        defaults = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, "kernels": "stock"}
        return resolve_cell({**defaults, **axes}).cell

    return make


@pytest.fixture(scope="session")
def launcher():
    """One forkserver for all tests that need workers."""
    launcher = Launcher()
    launcher.begin_round(0)
    yield launcher
    launcher.close()
