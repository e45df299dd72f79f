"""What every test may use. `pytest --benchmark` loads this too: no test library, no settings."""

import os
import sys

import pytest

pytest_plugins = ["pytester"]

# Triton's functions run under its interpreter in tests. Triton reads this when it is imported, for
# its own functions too, and bitsandbytes imports it: so it is set before any other conftest is
# loaded, let alone a test module. `alignmeter kernels` compiles without it.
if "--benchmark" not in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(config, items):
    """Tests of minutes run where they are asked for by their marker: ``-m full``."""
    if "full" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="takes minutes; run it with tox -e full")
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(skip)
