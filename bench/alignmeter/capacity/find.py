"""Capacity by measurement: from the plan's value to the largest batch or sequence that runs."""

__all__ = ["find_capacity"]

import time
from dataclasses import dataclass, field

import msgspec

from alignmeter.accelerators import open_accelerator
from alignmeter.capacity.attempt import look_at, step_memory
from alignmeter.capacity.search import Hint, Outcome, find_largest
from alignmeter.cells.cell import Cell
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError, InputError
from alignmeter.planner.fit import ALLOWANCE
from alignmeter.planner.store import plan_cell
from alignmeter.planner.trace import NotPlannedError
from alignmeter.records.capacity import STEPS, CapacityPoint, CapacityTry, SearchedAxis
from alignmeter.records.prediction import Prediction
from alignmeter.records.record import VRAM, Provenance
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import Planned, resolve_cell
from alignmeter.text import shortened
from alignmeter.units import bytes_text

_TEXT = 300
"""Characters of an error that are kept."""


def find_capacity(
    planned: Planned,
    axis: SearchedAxis,
    *,
    memory_limit_bytes: int | None,
    settings: Settings,
    launcher: Launcher,
) -> CapacityPoint:
    """Search along ``axis`` from the plan's value on; ``settings`` gives seed and time per try.

    ``memory_limit_bytes``: ``None`` for the device's memory. A prompt stays half of the sequence,
    or else the response keeps its length. A cell that cannot be measured is a point with a reason.
    Raises `InputError` for a limit above what the device has, and without one on a CPU.
    """
    cell = planned.cell
    kind = open_accelerator(cell.accelerator).memory_kind
    if memory_limit_bytes is None and kind != VRAM:
        raise InputError(
            f"a {cell.accelerator} has no limit of its own; give --memory-limit 512MiB"
        )
    empty = CapacityPoint(
        cell=cell, axis=axis, step=STEPS[axis], memory_kind=kind,
        limit_bytes=memory_limit_bytes, limit_given=memory_limit_bytes is not None,
    )  # fmt: skip
    if planned.unsupported is not None:
        return msgspec.structs.replace(empty, reason=planned.unsupported.text)
    if cell.world_size > 1:
        text = f"a search takes one device, not {cell.world_size}; alignmeter plan knows shares"
        return msgspec.structs.replace(empty, reason=text)
    try:
        provenance = look_at(cell, settings, launcher)
    except CellError as failure:
        return _result(empty, [_failed(getattr(cell, axis), failure)])
    search = _Search(
        cell=cell, axis=axis, kind=kind, limit_bytes=_limit(memory_limit_bytes, provenance),
        settings=settings, launcher=launcher, provenance=provenance,
    )  # fmt: skip
    search.plan()
    search.run()
    return search.point(empty)


def _limit(given: int | None, place: Provenance) -> int:
    capacity = place.device_memory_bytes
    if given is not None and capacity is not None and given > capacity:
        raise InputError(
            f"--memory-limit is {bytes_text(given)}, but {place.device} has {bytes_text(capacity)}"
        )
    limit = capacity if given is None else given
    if limit is None:
        raise InputError(f"{place.device} does not tell its memory; give --memory-limit 40GiB")
    return limit


@dataclass(kw_only=True)
class _Search:
    """One search, and what it found so far."""

    cell: Cell
    axis: SearchedAxis
    kind: str
    limit_bytes: int
    settings: Settings
    launcher: Launcher
    provenance: Provenance
    planned: int | None = None
    plan_text: str | None = None
    slope: float | None = None
    tries: list[CapacityTry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._step = STEPS[self.axis]
        self._response = self.cell.seq_len - self.cell.prompt_len
        self._half = self.cell.prompt_len == self.cell.seq_len // 2
        fixed = self.axis == "seq_len" and not self._half
        self._least = self._response // self._step + 1 if fixed else 1  # in steps
        self._predictions: dict[Cell, Prediction] = {}

    def _changed(self, value: int) -> Planned:
        """The cell with its axis at ``value``."""
        axes = {**self.cell.axes(), self.axis: value}
        if self.axis == "batch":
            axes["rows"] = 0  # pairs are searched, whatever number of rows the cell has
        if self.axis == "seq_len":
            axes["prompt_len"] = value // 2 if self._half else value - self._response
        return resolve_cell(axes)

    def plan(self) -> None:
        """What the plan says would fit, and the bytes per step there; a reason without a plan.

        The plan is searched as the step itself is. A line through the plans of two small batches
        would not do: below some batch the optimizer's step is the peak, which does not grow.
        """
        start = getattr(self.cell, self.axis) // self._step
        hint = Hint(start=start, limit_bytes=self.limit_bytes, least=self._least)
        try:
            largest = find_largest(self._planned_outcome, hint)
            low = self._least if largest is None else largest
            peaks = [self._plan_of(value).peak_bytes for value in (low, low + 1)]
        except NotPlannedError as error:
            self.plan_text = shortened(str(error), _TEXT)
            return
        self.planned = 0 if largest is None else largest * self._step
        self.slope = peaks[1] - peaks[0]

    def _planned_outcome(self, value: int) -> Outcome:
        # A limit on tensors leaves out what an accelerator holds beside them.
        peak = self._plan_of(value).peak_bytes
        used = ALLOWANCE.needed_bytes(peak) if self.kind == VRAM else peak
        return Outcome(fits=used <= self.limit_bytes, used_bytes=used)

    def _plan_of(self, value: int) -> Prediction:
        cell = self._changed(value * self._step).cell
        if cell not in self._predictions:
            self._predictions[cell] = plan_cell(cell)
        return self._predictions[cell]

    def run(self) -> None:
        """Try values until the largest that runs is known."""
        start = getattr(self.cell, self.axis) if self.planned is None else self.planned
        hint = Hint(
            start=start // self._step, limit_bytes=self.limit_bytes, slope=self.slope,
            least=self._least,
        )  # fmt: skip
        largest = find_largest(lambda value: self._attempt(value * self._step), hint)
        if largest is not None and self.plan_text is None:
            self._plan_of(largest)

    def _attempt(self, value: int) -> Outcome:
        """One try, kept in ``tries``."""
        begin = time.monotonic()
        try:
            cell = self._runnable(value)
            found = step_memory(cell, self.limit_bytes, self.kind, self.settings, self.launcher)
        except CellError as failure:
            self.tries.append(_failed(value, failure, time.monotonic() - begin))
            # A worker that was killed may have been so for its memory; an exception says why.
            about_memory = failure.code in ("out_of_memory", "worker_died", "timeout")
            return Outcome(fits=False, about_memory=about_memory)
        self.provenance = found.provenance
        fits = found.used_bytes <= self.limit_bytes
        attempt = CapacityTry(
            value=value, status="ok" if fits else "over_limit", peak_bytes=found.peak_bytes,
            used_bytes=found.used_bytes, seconds=time.monotonic() - begin,
        )  # fmt: skip
        self.tries.append(attempt)
        return Outcome(fits=fits, used_bytes=found.used_bytes)

    def _runnable(self, value: int) -> Cell:
        planned = self._changed(value)
        if planned.unsupported is not None:
            reason = planned.unsupported
            raise CellError("unsupported", reason.code, reason.text)
        return planned.cell

    def _with_plan(self, attempt: CapacityTry) -> CapacityTry:
        known = self._predictions.get(self._changed(attempt.value).cell)
        peak = None if known is None else known.peak_bytes
        return msgspec.structs.replace(attempt, predicted_bytes=peak)

    def point(self, empty: CapacityPoint) -> CapacityPoint:
        """The typed result."""
        found = _result(empty, [self._with_plan(attempt) for attempt in self.tries])
        return msgspec.structs.replace(
            found,
            limit_bytes=self.limit_bytes,
            planned=self.planned,
            plan_text=self.plan_text,
            provenance=self.provenance,
        )


def _failed(value: int, failure: CellError, seconds: float = 0.0) -> CapacityTry:
    said = {"status": failure.status, "text": shortened(failure.text, _TEXT)}
    return msgspec.convert({"value": value, "seconds": seconds, **said}, CapacityTry)


def _result(empty: CapacityPoint, tries: list[CapacityTry]) -> CapacityPoint:
    ran = {t.value: t for t in tries if t.status == "ok"}
    refused = {t.value: t for t in tries if t.status != "ok"}
    largest, least = max(ran, default=None), min(refused, default=None)
    return msgspec.structs.replace(
        empty,
        largest=largest,
        peak_bytes=None if largest is None else ran[largest].peak_bytes,
        refused=least,
        reason=_reason(largest, None if least is None else refused[least]),
        tries=tries,
    )


def _reason(largest: int | None, refused: CapacityTry | None) -> str | None:
    """Why nothing ran, or what else than memory refused the next value."""
    if refused is None:
        return "the largest value that is ever tried fits"
    memory = refused.status in ("oom", "over_limit")
    said = f"{refused.status}: {refused.text}"
    if refused.status == "over_limit":
        said = f"needs {bytes_text(refused.used_bytes or 0)}"
    if largest is None:
        return f"{'nothing fits' if memory else 'nothing ran'}: {refused.value} {said}"
    return None if memory else f"not ended by memory: {refused.value} {said}"
