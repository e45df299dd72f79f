"""The pytest fixture behind `suites/bench_alignment.py`: one cell, measured."""

__all__ = ["CellBench"]

from typing import Any

import pytest

from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError, InputError
from alignmeter.records.record import Record
from alignmeter.runs.opened import OpenRun
from alignmeter.session import Planned, Replicate

_SKIPPED = ("unsupported", "oom", "predicted_oom")
"""What a cell can be without a fault of the software; anything else but ``ok`` is a failure."""


class CellBench:
    """One cell under pytest-benchmark: a round of `pedantic` is a step asked of the worker."""

    def __init__(
        self, opened: OpenRun, planned: Planned, settings: Settings, request: pytest.FixtureRequest
    ) -> None:
        """``planned``: with its forecast, if there is to be one."""
        self._opened, self._settings = opened, settings
        self._benchmark: Any = request.getfixturevalue("benchmark")
        opened.launcher.begin_round(0)
        self._replicate = Replicate(
            planned=planned, index=0, settings=settings, launcher=opened.launcher
        )

    def measure(self) -> Record:
        """Build, warm up, time the steps and store the record.

        An unsupported cell or one out of memory, measured or predicted, is a skip with its reason,
        a crash or a time-out a failure. The benchmark's ``extra_info`` holds ``step_s`` as the
        worker timed it; the mean that pytest-benchmark prints is the round trip.
        """
        try:
            self._replicate.start()
            self._benchmark.pedantic(
                self._replicate.step, rounds=self._settings.steps, iterations=1, warmup_rounds=0
            )
        except CellError as failure:
            self._store()
            reported = f"{failure.status}: {failure.text}"
            if failure.status in _SKIPPED:
                pytest.skip(reported)
            pytest.fail(reported, pytrace=False)
        record = self._store()
        self._benchmark.extra_info.update(
            cell=record.cell.id,
            status=record.status,
            step_s=record.timing.step_s,
            allocated_peak_bytes=record.memory.allocated_peak_bytes,
            memory_kind=record.memory.kind,
        )
        return record

    def _store(self) -> Record:
        try:
            return self._opened.store(self._replicate.finish())
        except InputError as error:
            pytest.fail(str(error), pytrace=False)

    def close(self) -> None:
        """End the worker if the measuring was cut short."""
        self._replicate.close()
