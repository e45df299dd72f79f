"""pytest plugin: ``pytest --benchmark`` measures cells through pytest-benchmark.

Load it with ``-p alignmeter.plugin`` (this repository's settings do).
"""

# None before one that it imports, of which pytest would warn.
pytest_plugins = (
    "alignmeter.plugin.limits",
    "alignmeter.plugin.machine",
    "alignmeter.plugin.names",
    "alignmeter.plugin.hooks",
)
