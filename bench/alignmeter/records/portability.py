"""The portability table: what each Triton function needs on chips that need not be here.

A checked and versioned type, as records are, so that a report can read it without torch.
"""

__all__ = [
    "SCHEMA_VERSION",
    "Portability",
    "PortabilityRow",
    "decode_portability",
    "encode_portability",
    "failure",
    "failures",
    "summary",
]

from typing import Annotated

import msgspec

from alignmeter.records.document import decode_versioned, encode_document
from alignmeter.text import counted

SCHEMA_VERSION = 1
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class PortabilityRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One launch of one Triton function, compiled for one chip. ``None``: could not be read.

    ``registers``: per thread. ``spills``: bytes of a thread's stack on NVIDIA, registers on AMD.
    ``shared_bytes``: shared memory or LDS of a program. ``occupancy``: resident warps, in
    ``occupancy_unit``. ``matrix``: the matrix instruction used; ``wants_matrix``: it must use one.
    ``error``: why it does not compile or could not be launched.
    """

    kernel: str
    case: str
    dtype: str
    function: str
    chip: str
    example: str
    data_centre: bool
    warps: Count | None = None
    blocks: dict[str, int | float | str | bool] = {}
    registers: Count | None = None
    spills: Count | None = None
    shared_bytes: Count | None = None
    occupancy: Count | None = None
    occupancy_unit: str
    matrix: str | None = None
    wants_matrix: bool = False
    error: str | None = None


class Portability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rows of one `alignmeter kernels`, and the versions that made them."""

    schema_version: int
    triton: str
    alignmeter: str
    rows: list[PortabilityRow]


_DECODER = msgspec.json.Decoder(Portability)


def encode_portability(table: Portability) -> bytes:
    """Strict JSON, indented for people, with a newline at the end."""
    return encode_document(table)


def decode_portability(data: bytes, where: str) -> Portability:
    """Parse and check one table. Raises `InputError` that names ``where`` and the wrong field."""
    return decode_versioned(
        data, _DECODER, SCHEMA_VERSION, where, "a table of `alignmeter kernels`"
    )


def failure(row: PortabilityRow) -> str | None:
    """What is wrong with this row, or ``None``."""
    if row.error is not None:
        return f"does not compile for {row.chip}: {row.error}"
    if row.data_centre and row.spills is None:
        return f"compiles for {row.chip}, but its spills could not be read"
    if row.data_centre and row.spills:
        unit = "registers" if row.chip.startswith("gfx") else "bytes"
        return f"spills {row.spills} {unit} on {row.chip}"
    if row.wants_matrix and row.matrix is None:
        return f"does not use the matrix unit of {row.chip}"
    if row.dtype == "float32" and row.matrix is not None and not row.chip.startswith("gfx"):
        return f"multiplies fp32 on the matrix unit of {row.chip}, which rounds to TF32"
    return None


def failures(table: Portability) -> list[str]:
    """A sentence for each row that does not hold what every row must."""
    found = ((row, failure(row)) for row in table.rows)
    return [f"{r.kernel}: {r.function} ({r.dtype}) {why}" for r, why in found if why is not None]


def summary(table: Portability) -> str:
    """One line: what was compiled, and what holds or how much of it does not."""
    functions = len({(row.kernel, row.function) for row in table.rows})
    chips = len({row.chip for row in table.rows})
    what = f"{counted(functions, 'function')} x {counted(chips, 'chip')}"
    wrong = len(failures(table))
    if wrong:
        return f"{what}: {wrong} of {len(table.rows)} compilations fail"
    parts = ["all compile"]
    if any(row.data_centre for row in table.rows):
        parts.append("no spills on the data-centre chips")
    if any(row.wants_matrix for row in table.rows):
        parts.append("matrix products on the matrix unit")
    return f"{what}: {', '.join(parts)}"
