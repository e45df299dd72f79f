"""From a choice of axes to a cell: defaults filled in, contradictions named."""

__all__ = ["Planned", "input_notes", "notes_on", "plan_matrix", "resolve_cell", "resolve_plan"]

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from alignmeter.accelerators import available, devices_hidden, missing_text, passed_over
from alignmeter.architectures import architecture_of, open_architecture, vendor_missing
from alignmeter.architectures.checkpoint import (
    RANDOM,
    beyond_positions,
    find_checkpoint,
    without_dropout,
    without_weights,
)
from alignmeter.batches import check_rows, data_digest, data_note
from alignmeter.cells.axes import AXES, SAME, AxisValue, path_of
from alignmeter.cells.cell import Cell, as_teacher, make_cell
from alignmeter.cells.columns import DROP
from alignmeter.cells.defaults import default_of
from alignmeter.cells.effects import excludes, flags_without_effect, without_effect
from alignmeter.cells.matrix import Choice, Matrix, expand
from alignmeter.cells.reward_file import check_reward
from alignmeter.errors import CellError, InputError
from alignmeter.peft import open_peft
from alignmeter.records.reasons import Code
from alignmeter.records.record import Reason
from alignmeter.registry import METHODS, unused_axes
from alignmeter.session.contradictions import contradictions
from alignmeter.session.own_models import of_its_model
from alignmeter.training.engines import open_engine
from alignmeter.training.optimizers import open_optimizer

_ANYWHERE = (Code.EXCLUDED, Code.IMPOSSIBLE, Code.RANKS_NOT_RUN)
"""Reasons that no other machine would lift."""
_NOT_RUN = "this version makes no record and no plan of {} devices; use world_size 1"


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

    @property
    def measurable(self) -> bool:
        """Whether nothing is known that keeps it from being measured here."""
        return self.unsupported is None and self.predicted_oom is None

    @property
    def contradiction(self) -> Reason | None:
        """Why no machine can measure it; what only this one lacks can still be planned."""
        reason = self.unsupported
        return reason if reason is not None and reason.code in _ANYWHERE else None


def _check_interpreter() -> None:
    """Raise `InputError` where transformers could not be imported: it reads its docstrings."""
    if sys.flags.optimize > 1:
        raise InputError(
            "Python runs without docstrings (PYTHONOPTIMIZE=2 or -OO), and transformers cannot be "
            "imported so; unset PYTHONOPTIMIZE, or set it to 1"
        )


def _filled(axes: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """All axes: the given ones, then the defaults that depend on them."""
    full = {name: axes.get(name, axis.default) for name, axis in AXES.items()}
    if full["accelerator"] == "auto":
        full["accelerator"] = _best_accelerator()
    if full["model"] != RANDOM:
        full["size"] = "checkpoint"
        family = find_checkpoint(str(full["model"])).family
        if "architecture" not in axes:
            full["architecture"] = family.name
        if "kernels" not in axes and family.stock_only is not None:
            full["kernels"] = "stock"
    # What changes nothing here goes back to its default, so that cells stay unique.
    for name in unused_axes(full.__getitem__):
        full[name] = AXES[name].default
    if full["rows"]:
        full["batch"] = AXES["batch"].default
    filled = {
        name: default_of(name, full) if value is None else value for name, value in full.items()
    }
    return {name: value for name, value in filled.items() if value is not None}


@cache
def _best_accelerator() -> str:
    return available()[0]


def resolve_plan(choices: Iterable[Choice], *, bad_rows: str = DROP) -> list[Planned]:
    """The cells of a matrix, each once.

    ``bad_rows``: ``refuse`` where a row that is no pair is an error. Raises `InputError` if their
    data cannot be read.
    """
    return _each_once(_resolved(choice, bad_rows) for choice in choices)


def plan_matrix(
    matrix: Matrix,
    overrides: Mapping[str, Sequence[AxisValue]],
    note: Callable[[str], None],
    *,
    bad_rows: str = DROP,
) -> list[Planned]:
    """The cells of a matrix under axis flags, each once.

    ``note`` gets a sentence for each flag, key and exclusion without effect, for each device that
    ``auto`` passed over, and as `input_notes`.
    Raises `InputError` as `resolve_plan`.
    """
    choices = expand(matrix, overrides)
    resolved = [_resolved(of_its_model(choice, overrides), bad_rows) for choice in choices]
    pairs = [(c, planned.cell) for c, planned in zip(choices, resolved, strict=True)]
    for sentence in without_effect(matrix, overrides, pairs, _best_accelerator()):
        note(sentence)
    if any(choice.axes.get("accelerator", "auto") == "auto" for choice in choices):
        for sentence in passed_over(_best_accelerator()):
            note(sentence)
    for sentence in input_notes(resolved):
        note(sentence)
    return _each_once(resolved)


def notes_on(named: Mapping[str, AxisValue], cell: Cell) -> list[str]:
    """A sentence for each axis flag of one cell that changes nothing in it."""
    pairs = [(Choice(axes=dict(named)), cell)]
    return list(flags_without_effect({name: (value,) for name, value in named.items()}, pairs))


def _each_once(resolved: Iterable[Planned]) -> list[Planned]:
    plan: dict[str, Planned] = {}
    for planned in resolved:
        plan.setdefault(planned.cell.id, planned)
    return list(plan.values())


def _resolved(choice: Choice, bad_rows: str) -> Planned:
    """An exclusion is of cells whose defaults are filled in: one that names none has them too."""
    planned = resolve_cell(choice.axes, bad_rows=bad_rows)
    for exclusion in choice.exclusions:
        if excludes(exclusion, planned.cell, _best_accelerator()):
            return replace(planned, unsupported=Reason(code="excluded", text=exclusion.reason))
    return planned


def input_notes(plan: Iterable[Planned]) -> list[str]:
    """A sentence for each file of the plan that has rows which are no pair, for each length that
    a checkpoint was not trained on, and for dropout that is left out.
    """
    said = (note for item in plan for note in _notes(item.cell))
    return list(dict.fromkeys(note for note in said if note is not None))


def _notes(cell: Cell) -> Iterator[str | None]:
    yield data_note(cell)
    for model in dict.fromkeys((cell.model, as_teacher(cell).model)):
        if model != RANDOM:
            checkpoint = find_checkpoint(model)
            yield beyond_positions(model, checkpoint.shape(), cell.seq_len)
            yield without_dropout(model, checkpoint.dropout)
            yield without_weights(model, checkpoint)


def resolve_cell(axes: Mapping[str, AxisValue], *, bad_rows: str = DROP) -> Planned:
    """The cell of these axes, unnamed ones at their defaults. ``bad_rows``: as in a plan."""
    _check_interpreter()
    full = _filled(axes)
    cell = make_cell(full, _digests(full, bad_rows))
    return Planned(cell=cell, unsupported=_obstacle(cell))


def _digests(full: Mapping[str, AxisValue], bad_rows: str) -> dict[str, str]:
    """Of the cell's files and shapes. Raises `InputError` for files that cannot be used."""
    model, architecture = str(full["model"]), str(full["architecture"])
    found = {
        "data_digest": data_digest(str(full["data"]), str(full["columns"]), bad_rows),
        "model_digest": _model_digest(model, architecture, str(full["size"])),
    }
    if path_of("reward", full["reward"]) is not None:
        found["reward_digest"] = check_reward(str(full["reward"]))
    teacher = str(full["teacher"])
    if teacher != SAME:
        path = path_of("teacher", teacher)
        found["teacher_digest"] = _model_digest(path or RANDOM, architecture, teacher)
    return found


def _model_digest(model: str, architecture: str, size: str) -> str:
    if model != RANDOM:
        return find_checkpoint(model).digest
    return open_architecture(architecture).digest(size)


def _obstacle(cell: Cell) -> Reason | None:
    contradiction = next(contradictions(cell), None)
    if contradiction is not None:
        return Reason(code="impossible", text=contradiction)
    if cell.world_size > 1:
        return Reason(code=Code.RANKS_NOT_RUN, text=_NOT_RUN.format(cell.world_size))
    absent = missing_text(cell.accelerator)
    if absent is not None:
        return Reason(code="accelerator_missing", text=absent)
    absent = open_peft(cell.peft).missing() or open_optimizer(cell.optimizer).missing(cell)
    if absent is None and cell.kernels == "vendor":
        vendor = architecture_of(cell).vendor
        absent = vendor_missing(vendor, cell.architecture, cell.accelerator)
    if absent is None and METHODS[cell.method].rollouts:
        absent = open_engine(cell.rollout).missing(cell)
    if absent is not None:
        return Reason(code="library_missing", text=absent)
    return _unfit_data(cell)


def _unfit_data(cell: Cell) -> Reason | None:
    """Why the cell's data give it no batch: what its worker would find, known before it starts."""
    try:
        with devices_hidden():  # a tokenizer's library looks for devices when it is imported
            check_rows(cell)
    except CellError as error:
        return Reason(code=error.code, text=error.text)
    return None
