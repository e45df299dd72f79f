"""The largest batch and the longest sequence, where the first plans say little of large ones."""

import pytest
from made_plans import made_plan
from made_records import make_record

from alignmeter.planner import ALLOWANCE, fit
from alignmeter.units import GIB

MEMORY = ALLOWANCE.needed_bytes(24 * GIB)
"""24 GiB of peak fit exactly."""


def test_a_batch_is_found_where_large_ones_need_a_little_more_than_a_line_says():
    """72 MB and 1 212 160 bytes a pair up to 100 pairs, 256 more for each pair beyond: rounding.

    The line through 2 and 4 pairs says (24 GiB - 72 MB) / 1 212 160 = 21 200 pairs, five too many.
    """

    def peak(pairs):
        return 72_000_000 + 1_212_160 * pairs + 256 * max(0, pairs - 100)

    largest = max(n for n in range(21_300) if peak(n) <= 24 * GIB)
    line = (24 * GIB - 72_000_000) // 1_212_160
    assert line - largest == 5
    asked = []

    def of(axes):
        asked.append(axes["batch"])
        return made_plan(peak(axes["batch"]))

    assert fit.largest_batch(make_record(batch=2).cell, MEMORY, of) == largest
    assert len(asked) <= 6


def test_a_batch_is_found_far_beyond_what_small_steps_say():
    """Up to 64 pairs the optimizer's step is the peak, and does not grow at all."""

    def of(axes):
        return made_plan(max(10 * GIB, 2 * GIB + GIB // 8 * axes["batch"]))

    assert fit.largest_batch(make_record(batch=1).cell, MEMORY, of) == 22 * 8


def test_a_sequence_is_found_far_beyond_what_short_ones_say():
    """Growth from 16 to 64 tokens is steeper than any later one: 2 GiB where a head begins."""

    def of(axes):
        length = axes["seq_len"]
        return made_plan(GIB + (length > 32) * GIB + length * 2**16)

    # 22 GiB are left, at 64 KiB a token.
    assert fit.largest_seq_len(make_record(seq_len=16).cell, MEMORY, of) == 22 * 2**14


@pytest.mark.parametrize(("gib", "largest"), [(24, fit.LARGEST), (25, 0)])
def test_what_never_grows_fits_always_or_never(gib, largest):
    def of(_):
        return made_plan(gib * GIB)

    cell = make_record(batch=2, seq_len=64).cell
    assert fit.largest_batch(cell, MEMORY, of) == largest
    assert fit.largest_seq_len(cell, MEMORY, of) == largest
