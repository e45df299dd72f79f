"""What every test may use."""

import os

from hypothesis import HealthCheck, settings

# The workers of the tests share two cores with the tests themselves.
os.environ.setdefault("OMP_NUM_THREADS", "2")

pytest_plugins = ["pytester"]

# Shared machines stall now and then; speed is measured in benchmarks, never in a test.
settings.register_profile("alignmeter", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("alignmeter")
