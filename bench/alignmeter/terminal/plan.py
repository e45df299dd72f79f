"""Plans: the predicted peak of a cell, its ledger, and the chips that hold it."""

__all__ = ["allowance_text", "plan_parts", "plans_parts"]

from collections.abc import Iterator, Mapping, Sequence

from alignmeter.analysis.chips import peak
from alignmeter.analysis.offers import best_offer, nearest_miss
from alignmeter.analysis.prices import Prices
from alignmeter.analysis.roofline import bound_of, ceilings_of
from alignmeter.cells.axes import AXES, RANDOM
from alignmeter.cells.cell import Cell
from alignmeter.cells.labels import UNUSED, axis_text, follows, varied
from alignmeter.records.prediction import Fit, Prediction
from alignmeter.terminal.tables import Column, Grid, Paragraph, Part, Row, fields, figure, label
from alignmeter.text import counted, plain
from alignmeter.units import bytes_text, seconds_text

_OWNERS_SHOWN = 5
_NAMING = tuple(name for name in AXES if name not in ("accelerator", "data"))
"""Axes that may tell the rows of the table apart, in the order of a cell's id."""
_GLUE = "\N{NO-BREAK SPACE}"


def plan_parts(prediction: Prediction) -> Iterator[Part]:
    """One cell: peak, the largest rows of its ledger, and where it fits."""
    where = f" in {prediction.peak_phase} ({prediction.peak_operator})"
    owners = sorted(prediction.ledger.items(), key=lambda row: -row[1])[:_OWNERS_SHOWN]
    ledger = (
        _glued(f"{name.removesuffix('_bytes').replace('_', ' ')} {bytes_text(count)}")
        for name, count in owners
        if count
    )
    fitting = [_fit_text(name, fit) for name, fit in prediction.fits.items() if fit.ok]
    missing = [_fit_text(name, fit) for name, fit in prediction.fits.items() if not fit.ok]
    rows: list[tuple[str, str | Paragraph]] = [
        ("peak", plain(f"{bytes_text(prediction.peak_bytes)}{_each(prediction)}{where}")),
        ("ledger", ", ".join(ledger)),
        *_reserved(prediction),
        *_sent(prediction),
        ("fits", Paragraph(", ".join(fitting) or "nowhere", "green" if fitting else "")),
    ]
    if missing:
        rows.append(("misses", Paragraph(", ".join(missing), "red")))
    rows.extend(_bound(prediction))
    yield Paragraph(plain(prediction.cell.id), "bold", hang=2)
    yield fields(rows, indent=2)
    yield Paragraph("")


def _bound(prediction: Prediction) -> Iterator[tuple[str, str]]:
    """Seconds of a step on the chips that hold it, the shortest first, by what takes longest."""
    if prediction.demand_reason is not None:
        yield "bound", plain(f"none: {prediction.demand_reason}")
    chips: dict[tuple[str, str], list[str]] = {}
    found = [(fit.bound_s, name) for name, fit in prediction.fits.items() if fit.ok and fit.bound_s]
    for seconds, name in sorted(found):
        ceilings = ceilings_of(peak(name), prediction.cell.world_size)
        if ceilings is not None:
            longest = bound_of(prediction.demand, ceilings).longest
            chips.setdefault(longest, []).append(_glued(f"{seconds_text(seconds)} on {name}"))
    groups = (
        f"{', '.join(texts)} {_glued(plain(f'({phase} by {limit})'))}"
        for (phase, limit), texts in chips.items()
    )
    if chips:
        yield "bound", f"at least {'; '.join(groups)}"


def _each(prediction: Prediction) -> str:
    """Of several devices."""
    size = prediction.cell.world_size
    return "" if size == 1 else f" on each of {size} devices"


def _sent(prediction: Prediction) -> Iterator[tuple[str, str]]:
    """Of a step of several devices: how much of each kind, and the phase that sends most."""
    kinds: dict[str, list[int]] = {}
    for phase in prediction.communication.values():
        for kind, one in phase.items():
            calls, count = kinds.setdefault(kind, [0, 0])
            kinds[kind] = [calls + one.calls, count + one.bytes]
    texts = [
        _glued(f"{kind.replace('_', '-')} {bytes_text(count)} in {counted(calls, 'call')}")
        for kind, (calls, count) in kinds.items()
    ]
    if texts:
        yield "sends", ", ".join(texts)
    unlinked = [name for name, fit in prediction.fits.items() if fit.ok and not peak(name).link]
    if texts and unlinked:
        yield "no links", f"of {', '.join(unlinked)} are known: their bounds leave out what is sent"


def _glued(text: str) -> str:
    """Never broken over two lines."""
    return text.replace(" ", _GLUE)


def _reserved(prediction: Prediction) -> Iterator[tuple[str, str]]:
    if prediction.reserved_bytes is not None:
        yield "reserved", f"{bytes_text(prediction.reserved_bytes)} in the allocator's segments"


def _fit_text(name: str, fit: Fit) -> str:
    sign = "+" if fit.ok else "-"
    text = f"{name} {sign}{bytes_text(abs(fit.spare_bytes))}"
    if fit.batch is not None:
        text += f" (batch {fit.batch} or {fit.seq_len} tokens)"
    return _glued(text)


def plans_parts(predictions: Sequence[Prediction], prices: Prices | None) -> Iterator[Part]:
    """A table per model with a row per cell: its peak on each device and the cheapest chip that
    holds it, with the price of as many as it has devices, or by how much the largest misses.
    Without prices the smallest chip.
    """
    groups: dict[str, list[Prediction]] = {}
    for planned in predictions:
        groups.setdefault(_model(planned.cell), []).append(planned)
    kind = "smallest" if prices is None else "cheapest"
    price = () if prices is None else (figure(f"{prices.currency} an hour"),)
    columns = Column("cell"), figure("peak"), figure("fits"), label(f"{kind} that fits"), *price
    for model, group in groups.items():
        cells = [planned.cell for planned in group]
        own = [name for name in _NAMING if not all(follows(cell, name) for cell in cells)]
        names = _telling(cells, varied(cells, own))
        if len(groups) > 1:
            yield Paragraph(plain(model), "bold")
        yield Grid(columns, [_row(planned, names, prices) for planned in group])
        yield Paragraph("")


def _model(cell: Cell) -> str:
    return f"{cell.architecture} {cell.size}" if cell.model == RANDOM else cell.model


def _telling(cells: Sequence[Cell], names: Sequence[str]) -> list[str]:
    """Without what the number of devices says already, such as a batch that grows with it."""
    return [name for name in names if name == "world_size" or not _by_devices(cells, name)]


def _by_devices(cells: Sequence[Cell], name: str) -> bool:
    """Whether cells of as many devices, as far as they use the axis, have one value of it."""
    values = {(cell.world_size, axis_text(cell, name)) for cell in cells}
    used = [size for size, text in values if text != UNUSED]
    return len(used) == len(set(used))


def _row(planned: Prediction, names: Sequence[str], prices: Prices | None) -> Row:
    fitting = sum(fit.ok for fit in planned.fits.values())
    axes = " ".join(axis_text(planned.cell, name) for name in names)
    offer = best_offer(planned.fits, prices)
    size = planned.cell.world_size
    rate = "" if offer is None or offer.per_hour is None else f"{offer.per_hour * size:.2f}"
    times = "" if size == 1 else f"{size} x "
    return Row(
        (
            plain(axes or planned.cell.id),
            bytes_text(planned.peak_bytes),
            f"{fitting} of {len(planned.fits)}",
            Paragraph(_missing(planned.fits), "red") if offer is None
            else Paragraph(times + offer.chip, "green"),
            *(() if prices is None else (rate,)),
        )
    )  # fmt: skip


def _missing(fits: Mapping[str, Fit]) -> str:
    """``none: B300 misses 31.6 GiB``, of the chip that lacks least."""
    chip = nearest_miss(fits)
    return "none" if chip is None else f"none: {chip} -{bytes_text(-fits[chip].spare_bytes)}"


def allowance_text(*, fragmentation: float, context_bytes: int) -> Paragraph:
    """What a chip needs beyond the peak, and what the figures are worth."""
    return Paragraph(
        f"Fits: peak + {fragmentation:.0%} for fragmentation + {bytes_text(context_bytes)} for the "
        "runtime, within the chip's memory. A prediction, checked with a CPU's allocator "
        "(docs/plan.md) and not yet with a GPU's."
    )
