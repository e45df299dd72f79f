"""A batch in several: what each pass of gradient accumulation is given."""

__all__ = ["parts", "units"]

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
    whole = units(len(batch.ids), rows)
    for number in range(count):
        first, last = whole * number // count, whole * (number + 1) // count
        ranges = [slice(first, last)]
        if rows == "pairs":
            ranges.append(slice(whole + first, whole + last))
        yield _of(batch, ranges, batch.pairs[first:last])


def _of(batch: Batch, ranges: list[slice], pairs: tuple[int, ...]) -> Batch:
    ids = _rows(batch.ids, ranges)
    if batch.spans is None:
        return replace(
            batch, ids=ids, response_mask=_rows(batch.response_mask, ranges), pairs=pairs
        )
    numbers = [number for part in ranges for number in range(len(batch.ids))[part]]
    longest = max(batch.spans.lengths[number] for number in numbers)
    spans = batch.spans.rows(numbers, row_len=longest)
    return replace(
        batch,
        ids=ids[:, :longest].contiguous(),
        response_mask=spans.mask,
        prompt_len=min(spans.prompts),
        spans=spans,
        pairs=pairs,
    )


def _rows(tensor: Tensor, ranges: list[slice]) -> Tensor:
    return torch.cat([tensor[part] for part in ranges])
