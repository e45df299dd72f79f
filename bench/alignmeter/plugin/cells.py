"""The pytest fixture behind `suites/bench_alignment.py`: one replicate of a cell, measured."""

__all__ = ["CellBench"]

import contextlib
from typing import Any

import pytest

from alignmeter.errors import CellError, InputError
from alignmeter.planner.forecast import forecast
from alignmeter.plugin.limits import why_cut_short
from alignmeter.plugin.measuring import CellChoice, Measuring
from alignmeter.records.record import Record
from alignmeter.session import Replicate
from alignmeter.session.replicate import Finished
from alignmeter.text import sentence

_SKIPPED = ("unsupported", "oom", "predicted_oom")
"""What a cell can be without a fault of the software; anything else but ``ok`` is a failure."""


class CellBench:
    """One cell under pytest-benchmark: a round of `pedantic` is a step asked of the worker."""

    def __init__(
        self, run: Measuring, choice: CellChoice, benchmark: Any, *, test: str, plans: bool
    ) -> None:
        """``test``: its node id. ``plans``: predict the cell's memory first."""
        self._run, self._choice, self._benchmark = run, choice, benchmark
        self._test, self._plans = test, plans
        self._replicate = self._replicate_of(choice.planned)
        self._called = False
        self._name = choice.planned.cell.id, choice.replicate

    def _replicate_of(self, planned: Any) -> Replicate:
        choice = self._choice
        return Replicate(
            planned=planned, index=choice.replicate, settings=choice.settings,
            launcher=self._run.opened.launcher,
        )  # fmt: skip

    def measure(self) -> Record:
        """Plan, build, warm up, time the steps and store the record.

        An unsupported cell or one out of memory, measured or predicted, is a skip with its reason,
        a crash or a time-out a failure. So is a replicate that has a record already: a finished one
        is never replaced. What ends the measuring from outside, a time limit or a signal, leaves a
        record that says so. The benchmark's ``extra_info`` holds ``step_s`` as the worker timed it;
        the mean that pytest-benchmark prints is the round trip.
        """
        self._called = True
        self._refuse_repeats()
        self._run.measured_by[self._name] = self._test
        self._run.in_flight = self
        try:
            self._measure()
        except CellError as failure:
            self._store(self._replicate.finish())
            reported = f"{failure.status}: {failure.text}"
            if failure.status in _SKIPPED:
                pytest.skip(reported)
            pytest.fail(reported, pytrace=False)
        except InputError as error:
            self.cut_short(error)
            pytest.fail(sentence(str(error)), pytrace=False)
        except BaseException as error:
            self._benchmark.has_error = True  # pytest-benchmark sets it for `Exception` alone
            self.cut_short(error)
            raise
        record = self._store(self._replicate.finish())
        self._benchmark.extra_info.update(
            cell=record.cell.id,
            replicate=record.replicate,
            status=record.status,
            step_s=record.timing.step_s,
            allocated_peak_bytes=record.memory.allocated_peak_bytes,
            memory_kind=record.memory.kind,
        )
        return record

    def _refuse_repeats(self) -> None:
        """A replicate is measured once in a session, and not at all where its record is there."""
        cell, replicate = self._name
        first = self._run.measured_by.get(self._name)
        if first == self._test:
            pytest.fail(
                f"{cell}.r{replicate} was measured in this test already; --replicates N repeats it",
                pytrace=False,
            )
        if first is not None:
            pytest.skip(f"measured already, by {first}; --replicates N repeats it")
        choice = self._choice
        path = self._run.opened.already(choice.planned, replicate, choice.settings)
        if path is not None:
            pytest.skip(f"measured already: {path}; give another --results, or remove that file")

    def _measure(self) -> None:
        choice, opened = self._choice, self._run.opened
        if self._plans:
            (planned,) = forecast([choice.planned], self._run.notes.append)
            self._replicate = self._replicate_of(planned)
        opened.launcher.begin_round(choice.replicate)
        self._replicate.start()
        self._benchmark.pedantic(
            self._replicate.step, rounds=choice.settings.steps, iterations=1, warmup_rounds=0
        )

    def _store(self, finished: Finished) -> Record:
        try:
            record = self._run.opened.store(finished)
        except InputError as error:
            self._run.in_flight = None
            pytest.fail(sentence(str(error)), pytrace=False)
        self._run.in_flight = None
        return record

    def cut_short(self, error: BaseException) -> None:
        """Store what is known of a cell that something outside ended.

        A folder that cannot be written is no second reason: the report will say so.
        """
        status, code, text = why_cut_short(error)
        with contextlib.suppress(InputError):
            self._run.opened.store(self._replicate.cut_short(status, code, text))
        self._run.in_flight = None

    def close(self) -> None:
        """End the worker if the measuring was cut short.

        pytest-benchmark warns of a fixture that was not used, for a cell that failed before its
        first step too; an error where warnings are.
        """
        if self._called:
            self._benchmark.skipped = True
        self._replicate.close()
