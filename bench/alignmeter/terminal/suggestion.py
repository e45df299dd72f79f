"""What a plan suggests: a chip, the longest sequence and levers in eight lines, then boxes."""

__all__ = ["box_parts", "change_parts", "chip_parts", "longest_parts"]

from collections.abc import Iterator, Mapping, Sequence

from alignmeter.analysis.offers import Offer
from alignmeter.records.prediction import Prediction
from alignmeter.records.suggestion import Box, Lever
from alignmeter.terminal.tables import Grid, Paragraph, Part, fields, lines
from alignmeter.text import listed, plain, shortened
from alignmeter.units import bytes_text

_LINES = 8
"""Of one suggestion on 80 columns, its cell's id among them."""
_LABEL = 8
"""Columns of the longest label: the lines come one by one, and stand below each other."""
_REASON = 60
"""Characters of why there is no longest sequence."""
_GLUE = "\N{NO-BREAK SPACE}"


def chip_parts(
    prediction: Prediction, offer: Offer | None, miss: str | None, currency: str | None
) -> Iterator[Part]:
    """The cell, and the chip that holds it, else ``miss``, by how much it does not."""
    peak = bytes_text(prediction.peak_bytes)
    yield Paragraph(plain(prediction.cell.id), "bold", hang=2)
    if offer is not None:
        price = "" if offer.per_hour is None else f" at {offer.per_hour:g} {currency} an hour"
        spare = bytes_text(prediction.fits[offer.chip].spare_bytes)
        text = Paragraph(f"{offer.chip}{price}: peak {peak}, {spare} spare", "green")
        yield _field("smallest" if offer.per_hour is None else "cheapest", text)
    elif miss is not None:
        lacks = bytes_text(-prediction.fits[miss].spare_bytes)
        text = Paragraph(f"none: peak {peak}, {lacks} too much for {miss}", "red")
        yield _field("smallest", text)


def longest_parts(longest: Mapping[str, int | str]) -> Iterator[Part]:
    """The longest sequence on each chip."""
    chips = {found: [c for c in longest if longest[c] == found] for found in longest.values()}
    said = (f"{_length(found)} on {' and '.join(names)}" for found, names in chips.items())
    yield _field("longest", ", ".join(text.replace(" ", _GLUE) for text in said))


def _length(found: int | str) -> str:
    if isinstance(found, str):
        return f"not planned ({shortened(found, _REASON)})"
    return f"{found} tokens" if found else "none"


def box_parts(boxes: Sequence[Box], currency: str | None) -> Iterator[Part]:
    """What each device of several holds, and on which chip that fits."""
    if boxes:
        yield _field("devices", ", ".join(_box(box, currency).replace(" ", _GLUE) for box in boxes))


def _box(box: Box, currency: str | None) -> str:
    rate = "" if box.per_hour is None else f" at {box.per_hour:g} {currency}"
    return f"{box.devices} x {box.chip or 'none'}{rate} ({bytes_text(box.peak_bytes)} each)"


def change_parts(
    target: str | None, misses_bytes: int, levers: Sequence[Lever], above: int
) -> Iterator[Part]:
    """What saves how much, and whether it alone is enough; as many levers as find room.

    ``above``: lines that the parts before it took.
    """
    if target is None:
        yield _field("change", "nothing: it fits every chip")
        return
    head = f"for {target}, {bytes_text(misses_bytes)} too small: "
    if not levers:
        yield _field("change", f"{head}no lever saves anything")
        return
    texts = [_lever(lever).replace(" ", _GLUE) for lever in levers]
    for shown in range(len(texts), 0, -1):
        part = _field("change", head + ", ".join(listed(texts, shown)))
        if above + len(lines([part])) <= _LINES:
            break
    yield part


def _lever(lever: Lever) -> str:
    fits = " and fits" if lever.fits else ""
    return f"{lever.axis}={lever.value} saves {bytes_text(lever.saves_bytes)}{fits}"


def _field(label: str, text: str | Paragraph) -> Grid:
    return fields([(label.ljust(_LABEL), text)], indent=2)
