"""A plan's word on one cell: predicted peak and ledger, and where it fits. Never a measurement."""

__all__ = ["Fit", "Prediction", "decode_predictions", "encode_predictions"]

import msgspec

from alignmeter.cells.cell import Cell
from alignmeter.errors import InputError


class Fit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One chip: ``spare_bytes`` is what is left of its memory, negative by what it misses.

    ``batch``, ``seq_len``: the largest that fit, everything else equal; 0 if none does, ``None`` if
    they were not looked for.
    """

    ok: bool
    spare_bytes: int
    batch: int | None = None
    seq_len: int | None = None


class Prediction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``phases``: phase -> bytes. ``ledger``: rows as in a record; they sum to ``peak_bytes``.

    ``fits``: key of the peaks table -> whether it fits there, allowance included.
    """

    cell: Cell
    peak_bytes: int
    peak_phase: str | None
    peak_operator: str | None
    phases: dict[str, int]
    ledger: dict[str, int]
    trained_parameters: int
    fits: dict[str, Fit] = {}


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(list[Prediction])


def encode_predictions(predictions: list[Prediction]) -> bytes:
    """Strict JSON, indented, with a newline at the end."""
    return msgspec.json.format(_ENCODER.encode(predictions), indent=1) + b"\n"


def decode_predictions(data: bytes, where: str) -> list[Prediction]:
    """Read them back. Raises `InputError` that names ``where`` and the wrong field."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{where}: not the JSON of `alignmeter plan`: {error}") from error
