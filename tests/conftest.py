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


# The longest first: a combination of a long test is of the tier that is named here first.
_TIERS = {"exhaustive": "one combination of many", "full": "takes seconds to a minute"}


def pytest_collection_modifyitems(config, items):
    """Tests of seconds and more run where they are asked for by their marker: ``-m full``."""
    for item in items:
        tier = next(filter(item.get_closest_marker, _TIERS), None)
        if tier is not None and tier not in config.option.markexpr:
            why = f"{_TIERS[tier]}; run it with tox -e {tier}"
            item.add_marker(pytest.mark.skip(reason=why))
