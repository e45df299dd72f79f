"""pytest plugin: ``pytest --benchmark`` measures cells through pytest-benchmark.

Load it with ``-p alignmeter.plugin`` (this repository's settings do).
"""

pytest_plugins = (
    "alignmeter.plugin.names",
    "alignmeter.plugin.hooks",
    "alignmeter.plugin.limits",
    "alignmeter.plugin.machine",
)
