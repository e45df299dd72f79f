"""What every test may use. `pytest --benchmark` loads this too: no test library, no settings."""

pytest_plugins = ["pytester"]
