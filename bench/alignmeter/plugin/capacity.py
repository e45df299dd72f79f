"""The pytest fixtures behind `suites/bench_capacity.py`."""

__all__ = ["CapacityBench", "store_point"]

from pathlib import Path
from typing import Any

import pytest

from alignmeter import __version__
from alignmeter.accelerators import open_accelerator
from alignmeter.analysis.capacity import merged
from alignmeter.capacity.find import find_capacity
from alignmeter.cells.settings import Settings
from alignmeter.errors import InputError
from alignmeter.records.capacity import (
    SCHEMA_VERSION,
    Capacity,
    CapacityPoint,
    SearchedAxis,
    Searches,
    decode_capacity,
    encode_capacity,
)
from alignmeter.records.folder import CAPACITY_FILE, write_bytes
from alignmeter.records.record import VRAM
from alignmeter.session import Planned
from alignmeter.session.launcher import Launcher
from alignmeter.text import sentence


class CapacityBench:
    """One search: a cell and the axis that is made as large as fits."""

    def __init__(
        self, benchmark: Any, searches: Searches, planned: Planned,
        axis: SearchedAxis, settings: Settings, launcher: Launcher,
    ) -> None:  # fmt: skip
        """``searches`` has the limit and gets the result."""
        self._benchmark = benchmark
        self._searches, self._planned, self._axis = searches, planned, axis
        self._settings, self._launcher = settings, launcher

    def measure(self) -> CapacityPoint:
        """Search and store the result.

        A cell that is not supported is a skip with its reason, a crash or a time-out before
        anything ran a failure. That nothing fits is a result.
        """
        limit_bytes = self._searches.limit_bytes
        accelerator = self._planned.cell.accelerator
        if limit_bytes is None and open_accelerator(accelerator).memory_kind != VRAM:
            why = f"{accelerator} has no limit of its own; give one, e.g. --memory-limit 512MiB"
            self._searches.refused.add(why)
            pytest.skip(why)
        self._launcher.begin_round(0)
        try:
            point: CapacityPoint = self._benchmark.pedantic(
                find_capacity,
                args=(self._planned, self._axis),
                kwargs={"memory_limit_bytes": limit_bytes, "settings": self._settings,
                        "launcher": self._launcher},
                rounds=1, iterations=1,
            )  # fmt: skip
            store_point(self._searches.folder, point)
        except InputError as error:
            pytest.fail(sentence(str(error)), pytrace=False)
        self._searches.points.append(point)
        self._benchmark.extra_info.update(
            cell=point.cell.id,
            axis=point.axis,
            limit_bytes=point.limit_bytes,
            planned=point.planned,
            largest=point.largest,
            peak_bytes=point.peak_bytes,
            tries=[(attempt.value, attempt.status) for attempt in point.tries],
        )
        if point.largest is None:
            ended = point.tries[-1].status if point.tries else "unsupported"
            if ended == "unsupported":
                pytest.skip(point.reason or ended)
            if ended in ("crashed", "timeout"):
                pytest.fail(point.reason or ended, pytrace=False)
        return point


def store_point(folder: Path, point: CapacityPoint) -> None:
    """Put it into the folder's file, in place of an earlier one of the same search.

    Raises `InputError` if the file there is not a capacity file, or cannot be written.
    """
    path, points = folder / CAPACITY_FILE, []
    if path.is_file():
        points = decode_capacity(path.read_bytes(), str(path)).points
    capacity = Capacity(
        schema_version=SCHEMA_VERSION, alignmeter=__version__, points=merged(points, point)
    )
    write_bytes(path, encode_capacity(capacity))
