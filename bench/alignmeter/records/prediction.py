"""A plan's word on one cell: predicted peak and ledger, and where it fits. Never a measurement."""

__all__ = [
    "SCHEMA_VERSION",
    "Fit",
    "NotPlanned",
    "Plan",
    "Prediction",
    "decode_predictions",
    "encode_predictions",
]

from collections.abc import Sequence
from typing import Any

import msgspec

from alignmeter import __version__
from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError
from alignmeter.records.demand import Demand
from alignmeter.records.document import decode_versioned, encode_document
from alignmeter.records.migrations import plan_of_list
from alignmeter.records.ranks import Collective
from alignmeter.records.suggestion import Suggestion

SCHEMA_VERSION = 1


class Fit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One chip: ``spare_bytes`` is what is left of its memory, negative by what it misses.

    ``batch``, ``seq_len``: the largest that fit, everything else equal; 0 if none does, ``None`` if
    they were not looked for. ``bound_s``: the step takes at least as long there, in s; ``None``
    where the prediction has no ``demand``, or the chip lacks a peak.
    """

    ok: bool
    spare_bytes: int
    batch: int | None = None
    seq_len: int | None = None
    bound_s: float | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``phases``: phase -> bytes. ``ledger``: rows as in a record; they sum to ``peak_bytes``.

    ``reserved_bytes``: segments that torch's caching allocator holds once such steps repeat;
    ``None`` where there is no such allocator, and in plans made before it was asked.
    ``fits``: key of the peaks table -> whether it fits there, allowance included.
    ``demand``: phase -> what a step asks of a device at least; empty where nobody has counted it,
    and ``demand_reason`` says why, and in plans made before it was asked.
    ``communication``: phase -> kind of collective -> what a step of several devices sends.

    Of several devices all figures but ``trained_parameters`` are those of one rank, and no rank
    holds more.
    """

    cell: Cell
    peak_bytes: int
    peak_phase: str | None
    peak_operator: str | None
    phases: dict[str, int]
    ledger: dict[str, int]
    trained_parameters: int
    reserved_bytes: int | None = None
    fits: dict[str, Fit] = {}
    demand: dict[str, Demand] = {}
    demand_reason: str | None = None
    communication: dict[str, dict[str, Collective]] = {}


class NotPlanned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cell without a prediction, and why in one sentence."""

    cell: Cell
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that one `alignmeter plan` was asked for, and the version of alignmeter that answered.

    ``suggestion``: of its one cell, with ``--suggest``.
    """

    schema_version: int
    alignmeter: str
    predictions: list[Prediction]
    not_planned: list[NotPlanned] = []
    suggestion: Suggestion | None = None


_DECODER = msgspec.json.Decoder(Plan)
_LIST = msgspec.json.Decoder(list[dict[str, Any]])
_WHAT = "the JSON of `alignmeter plan`"


def encode_predictions(
    predictions: Sequence[Prediction],
    not_planned: Sequence[NotPlanned] = (),
    suggestion: Suggestion | None = None,
) -> bytes:
    """A `Plan` as strict JSON, indented for people, with a newline at the end."""
    return encode_document(
        Plan(
            schema_version=SCHEMA_VERSION,
            alignmeter=__version__,
            predictions=list(predictions),
            not_planned=list(not_planned),
            suggestion=suggestion,
        )
    )


def decode_predictions(data: bytes, where: str) -> list[Prediction]:
    """Read them back, also from a bare list, as it was written before plans had a version.

    Raises `InputError` that names ``where`` and the wrong field.
    """
    if not data.lstrip().startswith(b"["):
        return decode_versioned(data, _DECODER, SCHEMA_VERSION, where, _WHAT).predictions
    try:
        return msgspec.convert(plan_of_list(_LIST.decode(data)), Plan).predictions
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not {_WHAT}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # in an older cell
        raise InputError(f"{where}: not {_WHAT}, as a bare list: {error!r}") from error
