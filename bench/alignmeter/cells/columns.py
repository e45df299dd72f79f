"""How a preference file is read: which column is which field, and what becomes of bad rows."""

__all__ = [
    "AUTO", "BAD_ROWS", "DROP", "FIELDS", "JUDGED", "PAIR", "REFUSE", "parse_columns",
]  # fmt: skip

from alignmeter.errors import InputError, known

AUTO = "auto"
"""Columns are recognised by their names: `batches.layouts`."""
PAIR, JUDGED = ("chosen", "rejected"), ("completion", "label")
"""What the answers of a row are called: two to compare, or one with what is thought of it."""
FIELDS = ("prompt", *PAIR, *JUDGED)
"""What a column can be."""
DROP, REFUSE = "drop", "refuse"
BAD_ROWS = (DROP, REFUSE)
"""What becomes of rows that are no pair: counted and left out, or the whole file refused."""


def parse_columns(text: str, where: str) -> dict[str, str]:
    """``prompt=question,chosen=answers[0].text`` as field -> column or path; ``auto`` names none.

    Raises `InputError` naming ``where`` and what is wrong.
    """
    if text == AUTO:
        return {}
    found: dict[str, str] = {}
    for part in text.split(","):
        field, sign, column = (piece.strip() for piece in part.partition("="))
        if not sign or not column:
            raise InputError(
                f"{where}: {part.strip()!r} names no column; "
                "give prompt=NAME,chosen=NAME,rejected=NAME, or of single answers "
                "prompt=NAME,completion=NAME,label=NAME"
            )
        if field not in FIELDS:
            raise InputError(f"{where}: {field!r} is not a field of a row; {known(FIELDS)}")
        if field in found:
            raise InputError(f"{where}: {field} is given twice; give it one column")
        found[field] = column
    if not (found.keys().isdisjoint(PAIR) or found.keys().isdisjoint(JUDGED)):
        raise InputError(
            f"{where}: fields of pairs and of single answers; give chosen and rejected, or "
            "completion and label"
        )
    return found
