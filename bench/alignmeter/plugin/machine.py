"""The devices of this machine in pytest-benchmark's files, and what may be compared with them."""

__all__: list[str] = []

from typing import Any

import pytest

from alignmeter.plugin.measuring import measuring

_KEY = "alignmeter"


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Name, driver and runtime of each device under ``machine_info["alignmeter"]``."""
    if measuring(config) is None:
        return
    from alignmeter.accelerators import available
    from alignmeter.accelerators.device_query import query

    machine_info[_KEY] = [
        {"accelerator": name, "device": device.name, "driver": device.driver,
         "runtime": device.runtime}
        for name in available()
        for device in query(name).devices
    ]  # fmt: skip


# First: pytest-benchmark itself warns of any difference, with all that is alike.
@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_benchmark_compare_machine_info(
    config: pytest.Config, benchmarksession: Any, machine_info: dict[str, Any],
    compared_benchmark: dict[str, Any],
) -> None:  # fmt: skip
    """Refuse a saved run of other devices; say loudly where a driver differs.

    Of a run that was saved without devices nothing is known; pytest-benchmark warns of it. Raises
    `pytest.UsageError`.
    """
    here = machine_info.get(_KEY)
    there = compared_benchmark.get("machine_info", {}).get(_KEY)
    if measuring(config) is None or not here or not there:
        return
    ours, theirs = _named(here, "device"), _named(there, "device")
    if ours != theirs:
        raise pytest.UsageError(
            f"--benchmark-compare: the saved run has {theirs}, this machine {ours}; give the "
            "number of a run of this machine, or compare folders of records by `alignmeter compare`"
        )
    for figure in ("driver", "runtime"):
        ours, theirs = _named(here, figure), _named(there, figure)
        if ours != theirs:
            benchmarksession.logger.error(
                f"--benchmark-compare: {figure} of the saved run {theirs}, of this one {ours}"
            )


def _named(devices: list[dict[str, Any]], figure: str) -> str:
    return ", ".join(f"{d.get('accelerator')} {d.get(figure)}" for d in devices)
