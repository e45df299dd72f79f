"""What it takes for two records to be made in one environment."""

__all__ = ["PLACEMENT", "environment_digest", "is_placement"]

from collections.abc import Mapping

from alignmeter.cells.cell import digest

PLACEMENT = (
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK", "ONEAPI_DEVICE_SELECTOR",
)  # fmt: skip
"""Variables that say which card a process got: a matter of the queue, not of the environment."""


def is_placement(variable: str) -> bool:
    """Whether an environment variable says only which devices a process may use."""
    return variable in PLACEMENT


def environment_digest(
    *,
    versions: Mapping[str, str],
    device: str,
    driver: str | None,
    runtime: str | None,
    threads: int | None,
    environment: Mapping[str, str],
) -> str:
    """First 12 hex digits over versions, device, threads and variables, without `PLACEMENT`.

    Resume and comparison treat two records as made in one environment if this is equal.
    """
    variables = {name: value for name, value in environment.items() if not is_placement(name)}
    return digest([dict(versions), device, driver, runtime, threads, variables])[:12]
