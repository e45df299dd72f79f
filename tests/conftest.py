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


_LONG = {"full": "takes seconds to a minute", "exhaustive": "one combination of many"}


def pytest_collection_modifyitems(config, items):
    """Tests of seconds and more run where they are asked for by their marker: ``-m full``."""
    for marker, why in _LONG.items():
        if marker not in config.option.markexpr:
            skip = pytest.mark.skip(reason=f"{why}; run it with tox -e {marker}")
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(skip)
