"""What every test may use. `pytest --benchmark` loads this too, so it imports no test library."""

import os

# The workers of the tests share two cores with the tests themselves.
os.environ.setdefault("OMP_NUM_THREADS", "2")

pytest_plugins = ["pytester"]
