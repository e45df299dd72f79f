"""What every test may use. `pytest --benchmark` loads this too: no test library, no settings."""

import pytest

pytest_plugins = ["pytester"]


def pytest_collection_modifyitems(config, items):
    """Tests of minutes run where they are asked for by their marker: ``-m full``."""
    if "full" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="takes minutes; run it with tox -e full")
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(skip)
