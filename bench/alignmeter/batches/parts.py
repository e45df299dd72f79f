"""A batch in several: what each pass of accumulation is given, and each of several devices."""

__all__ = ["part_of", "part_rows", "parts", "units"]

from collections.abc import Iterator
from dataclasses import replace

import torch

from alignmeter.batches.batch import Batch, BatchRows

Tensor = torch.Tensor


def units(count: int, rows: BatchRows) -> int:
    """What a batch of ``count`` rows can be divided into: pairs, or its rows."""
    return count // 2 if rows == "pairs" else count


def parts(batch: Batch, count: int, rows: BatchRows) -> Iterator[Batch]:
    """``count`` batches, as equal as they can be, of ``batch``'s pairs or rows in their order.

    Rows of their own lengths are cut to the longest of each part. ``real_tokens`` stays that of the
    whole: of some rows it is not known on the host.
    """
    for number in range(count):
        yield part_of(batch, number, count, rows)


def part_of(batch: Batch, number: int, count: int, rows: BatchRows) -> Batch:
    """That one of the `parts`."""
    ranges = _ranges(batch, number, count, rows)
    return _of(batch, ranges, _pairs(batch, ranges[0], rows))


def part_rows(batch: Batch, number: int, count: int, rows: BatchRows) -> list[int]:
    """Places in ``batch`` of the rows of that part."""
    return [row for part in _ranges(batch, number, count, rows) for row in _numbers(batch, part)]


def _ranges(batch: Batch, number: int, count: int, rows: BatchRows) -> list[slice]:
    """Chosen rows and the rejected ones of the same pairs, or rows alone."""
    whole = units(len(batch.ids), _kind(batch, rows))
    first, last = whole * number // count, whole * (number + 1) // count
    ranges = [slice(first, last)]
    if _kind(batch, rows) == "pairs":
        ranges.append(slice(whole + first, whole + last))
    return ranges


def _kind(batch: Batch, rows: BatchRows) -> BatchRows:
    """Answers that are judged one by one stay together where they came as pairs."""
    return "pairs" if rows == "unpaired" and batch.desirable is None else rows


def _pairs(batch: Batch, part: slice, rows: BatchRows) -> tuple[int, ...]:
    """Those behind these pairs or rows: of groups each stands for several rows."""
    each = units(len(batch.ids), _kind(batch, rows)) // len(batch.pairs)
    return batch.pairs[part.start // each : -(-part.stop // each)]


def _numbers(batch: Batch, part: slice) -> range:
    return range(len(batch.ids))[part]


def _of(batch: Batch, ranges: list[slice], pairs: tuple[int, ...]) -> Batch:
    part = replace(
        batch,
        ids=_rows(batch.ids, ranges),
        response_mask=_rows(batch.response_mask, ranges),
        desirable=None if batch.desirable is None else _rows(batch.desirable, ranges),
        rollout=None if batch.rollout is None else _rows(batch.rollout, ranges),
        pairs=pairs,
    )
    if batch.spans is None:
        return part
    numbers = [number for part in ranges for number in _numbers(batch, part)]
    longest = max(batch.spans.lengths[number] for number in numbers)
    spans = batch.spans.rows(numbers, row_len=longest)
    return replace(
        part,
        ids=part.ids[:, :longest].contiguous(),
        response_mask=spans.mask,
        prompt_len=min(spans.prompts),
        spans=spans,
    )


def _rows(tensor: Tensor, ranges: list[slice]) -> Tensor:
    return torch.cat([tensor[part] for part in ranges])
