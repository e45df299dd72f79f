"""Records of earlier schemas, brought up to date step by step as they are read.

A field that came later has a default and needs no step. A step is for what changed its meaning.
"""

__all__ = ["CAPACITY_STEPS", "RECORD_STEPS", "plan_of_list"]

from typing import Any

import msgspec

from alignmeter.cells.axes import AXES, RANDOM
from alignmeter.cells.cell import make_cell
from alignmeter.records.document import Steps
from alignmeter.records.environment import environment_digest

Document = dict[str, Any]

_DIGESTS = ("data_digest", "model_digest")
_PLACEMENT = frozenset({
    "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "ONEAPI_DEVICE_SELECTOR", "CUDA_CACHE_PATH", "CUDA_MPS_LOG_DIRECTORY",
    "CUDA_MPS_PIPE_DIRECTORY", "TORCH_EXTENSIONS_DIR", "TORCH_HOME", "TRITON_CACHE_DIR",
    "TRITON_HOME",
})  # fmt: skip
"""What schema 1 had among the environment and only says which device and folders a job got."""


def _cell_of_2(cell: Document) -> Document:
    """Its id digests only what is off its omitted value. The first cells had no ``model``: all
    weights were drawn.
    """
    later = {name: axis.omitted for name, axis in AXES.items() if axis.omitted is not None}
    axes = {**later, "model": RANDOM, **cell}
    digests = {name: axes.pop(name) for name in _DIGESTS}
    del axes["id"]
    return msgspec.structs.asdict(make_cell(axes, digests))


def _provenance_of_2(place: Document) -> Document:
    """Its environment, and the digest of it, are without what says which card a process got."""
    variables: dict[str, str] = place.get("environment", {})
    environment = {name: value for name, value in variables.items() if name not in _PLACEMENT}
    placement = {name: value for name, value in variables.items() if name in _PLACEMENT}
    before = place.get("environment_digest")
    if before and placement:
        driver = place.get("driver")
        of_telemetry = driver is not None and _digest(place, variables, driver) == before
        found = _digest(place, environment, driver if of_telemetry else None)
        place = {**place, "environment_digest": found}
    return {**place, "environment": environment, "placement": placement}


def _digest(place: Document, environment: dict[str, str], driver: str | None) -> str:
    """``driver``: as torch has it, which is not at all for CUDA and a CPU. The record's own is the
    telemetry's, so it is in the digest only where the two are one.
    """
    return environment_digest(
        versions=place.get("versions", {}),
        device=place.get("device", ""),
        driver=driver,
        runtime=place.get("runtime"),
        threads=place.get("threads"),
        environment=environment,
    )


def _record_of_2(record: Document) -> Document:
    return {
        **record,
        "schema_version": 2,
        "cell": _cell_of_2(record["cell"]),
        "provenance": _provenance_of_2(record["provenance"]),
    }


def _capacity_of_2(found: Document) -> Document:
    points = [
        {
            **point,
            "cell": _cell_of_2(point["cell"]),
            "provenance": point.get("provenance") and _provenance_of_2(point["provenance"]),
        }
        for point in found["points"]
    ]
    return {**found, "schema_version": 2, "points": points}


def plan_of_list(predictions: list[Document]) -> Document:
    """Plans had no version first and were a bare list, with cells as in schema 1 of records."""
    current = [{**one, "cell": _cell_of_2(one["cell"])} for one in predictions]
    return {"schema_version": 1, "alignmeter": "", "predictions": current}


RECORD_STEPS: Steps = {1: _record_of_2}
"""Schema version of a record -> the step to the next one."""
CAPACITY_STEPS: Steps = {1: _capacity_of_2}
"""The same for the file of capacity searches."""
