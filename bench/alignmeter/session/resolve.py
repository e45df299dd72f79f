"""From a choice of axes to a cell: defaults filled in, contradictions named."""

__all__ = ["Planned", "resolve_cell", "resolve_plan"]

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from alignmeter.accelerators import available, missing_text
from alignmeter.architectures import open_architecture, vendor_missing
from alignmeter.architectures.checkpoint import RANDOM, find_checkpoint
from alignmeter.architectures.precision import without_frozen_base
from alignmeter.batches import data_digest, tokenizer_obstacle
from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.cells.cell import Cell, make_cell
from alignmeter.cells.defaults import default_of
from alignmeter.cells.matrix import Choice
from alignmeter.methods import open_method
from alignmeter.peft import open_peft
from alignmeter.records.record import Reason
from alignmeter.registry import PEFT_MODES, unused_axes


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A cell, and the reason why it cannot be measured, if there is one.

    ``predicted_peak_bytes``: what a plan says of it, if one was made; ``predicted_oom``: why it
    is not tried.
    """

    cell: Cell
    unsupported: Reason | None
    predicted_peak_bytes: int | None = None
    predicted_oom: Reason | None = None


def _filled(axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """All axes: the given ones, then the defaults that depend on them."""
    full = {name: axes.get(name, axis.default) for name, axis in AXES.items()}
    if full["accelerator"] == "auto":
        full["accelerator"] = _best_accelerator()
    if full["model"] != RANDOM:
        full["size"] = "checkpoint"
        if "architecture" not in axes:
            full["architecture"] = find_checkpoint(str(full["model"])).architecture
    # What changes nothing here goes back to its default, so that cells stay unique.
    for name in unused_axes(str(full["method"]), str(full["peft"])):
        full[name] = AXES[name].default
    filled = {
        name: default_of(name, full) if value is None else value for name, value in full.items()
    }
    return {name: value for name, value in filled.items() if value is not None}


@cache
def _best_accelerator() -> str:
    return available()[0]


_digest_of = cache(data_digest)


def resolve_plan(choices: Iterable[Choice]) -> list[Planned]:
    """The cells of a matrix, each once. Raises `InputError` if their data cannot be read."""
    plan: dict[str, Planned] = {}
    for choice in choices:
        planned = resolve_cell(choice.axes)
        if choice.excluded is not None:
            reason = Reason(code="excluded", text=choice.excluded)
            planned = Planned(cell=planned.cell, unsupported=reason)
        plan.setdefault(planned.cell.id, planned)
    return list(plan.values())


def resolve_cell(axes: Mapping[str, AxisValue]) -> Planned:
    """The cell of these axes, unnamed ones at their defaults."""
    full = _filled(axes)
    digests = {
        "data_digest": _digest_of(str(full["data"])),
        "model_digest": _model_digest(full),
    }
    cell = make_cell(full, digests)
    return Planned(cell=cell, unsupported=_obstacle(cell))


def _model_digest(full: Mapping[str, AxisValue]) -> str:
    if full["model"] != RANDOM:
        return find_checkpoint(str(full["model"])).digest
    return open_architecture(str(full["architecture"])).digest(str(full["size"]))


def _contradictions(cell: Cell) -> Iterator[str]:
    if cell.prompt_len >= cell.seq_len:
        lengths = f"prompt_len {cell.prompt_len}", f"seq_len {cell.seq_len}"
        yield " leaves no room for a response in ".join(lengths)
    if not PEFT_MODES[cell.peft].adapters:
        if cell.ref == "adapter-off":
            yield f"{cell.peft} has no adapter to switch off for the ref_model; use ref = resident"
        unfit = without_frozen_base(cell.precision, cell.peft)
        if unfit is not None:
            yield unfit
    if cell.model != RANDOM:
        family = find_checkpoint(cell.model).architecture
        if cell.architecture != family:
            yield f"{cell.model} is a {family}, not a {cell.architecture}"
        if cell.data != "synthetic":
            obstacle = tokenizer_obstacle(cell)
            if obstacle is not None:
                yield obstacle
    yield from open_method(cell.method).contradictions(cell)


def _obstacle(cell: Cell) -> Reason | None:
    contradiction = next(_contradictions(cell), None)
    if contradiction is not None:
        return Reason(code="impossible", text=contradiction)
    absent = missing_text(cell.accelerator)
    if absent is not None:
        return Reason(code="accelerator_missing", text=absent)
    absent = open_peft(cell.peft).missing()
    if absent is None and cell.kernels == "vendor":
        vendor = open_architecture(cell.architecture).vendor
        absent = vendor_missing(vendor, cell.architecture, cell.accelerator)
    return None if absent is None else Reason(code="library_missing", text=absent)
