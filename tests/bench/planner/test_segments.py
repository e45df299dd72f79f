"""The caching allocator's rules by hand; tests/pretend holds them against the pretended device."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.planner.segments import CachingAllocator, reserved_peak
from alignmeter.units import MIB
from alignmeter.worker.memory.allocations import Storage


@pytest.mark.parametrize(
    ("nbytes", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        # 12 MiB less 1 KiB: what is left of the segment is too small to be split off.
        (12 * MIB - 1024, 12 * MIB, 12 * MIB),
    ],
)
def test_a_first_allocation_gets_the_segment_of_its_size(nbytes, allocated, reserved):
    allocator = CachingAllocator()
    allocator.allocate(nbytes)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (allocated, reserved)


def test_small_ones_share_a_segment_and_large_ones_another():
    allocator = CachingAllocator()
    for _ in range(4):
        allocator.allocate(512 * 1024)
    assert allocator.reserved_bytes == 2 * MIB
    for _ in range(4):
        allocator.allocate(5 * MIB)
    assert allocator.reserved_bytes == (2 + 20) * MIB


def test_the_smallest_free_block_that_is_large_enough_is_taken():
    """64 MiB lie free beside 32: 30 go to the latter, and the former is whole for its like."""
    allocator = CachingAllocator()
    large, small = allocator.allocate(64 * MIB), allocator.allocate(32 * MIB)
    allocator.release(large)
    allocator.release(small)
    allocator.allocate(30 * MIB)
    allocator.allocate(64 * MIB)
    assert allocator.reserved_bytes == 96 * MIB


def test_neighbours_that_are_free_are_one_block_again():
    allocator = CachingAllocator()
    blocks = [allocator.allocate(4 * MIB) for _ in range(5)]
    assert allocator.reserved_bytes == 20 * MIB
    for at in (1, 3, 2):
        allocator.release(blocks[at])
    allocator.allocate(12 * MIB)  # the three in the middle
    assert allocator.reserved_bytes == 20 * MIB


def test_gaps_between_what_stays_are_reserved_and_of_no_use():
    """Two of four blocks are freed, not neighbours: nothing larger than one fits there."""
    allocator = CachingAllocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
    allocator.release(blocks[0])
    allocator.release(blocks[2])
    allocator.allocate(8 * MIB)
    assert allocator.reserved_bytes == 40 * MIB


@given(st.lists(st.tuples(st.integers(1, 64 * MIB), st.integers(0, 9)), max_size=60))
def test_what_is_free_and_what_is_in_use_fill_the_segments(turns):
    """Whatever the order; and all given back, one block is left of each segment."""
    allocator, live = CachingAllocator(), []
    for nbytes, turn in turns:
        live.append(allocator.allocate(nbytes))
        if turn < len(live) and turn % 3:
            allocator.release(live.pop(turn))
        assert allocator.allocated_bytes == sum(block.size for block in live)
    assert allocator.allocated_bytes <= allocator.reserved_bytes
    for block in live:
        allocator.release(block)
    reserved = allocator.reserved_bytes
    if reserved:
        assert allocator.allocated_bytes == 0
        again = CachingAllocator()
        for nbytes, _ in turns:
            again.release(again.allocate(nbytes))
        assert again.reserved_bytes <= reserved


def test_a_step_is_replayed_with_what_the_one_before_left():
    """A weight of 30 MiB stays. An activation of 40 dies as a gradient of 30 is made, which stays
    until the next step's: that one's activation finds its own segment free.
    """
    storages = [
        Storage(nbytes=30 * MIB, born=-1, phase=None),
        Storage(nbytes=40 * MIB, born=0, phase="forward", died=1),
        Storage(nbytes=30 * MIB, born=1, phase="backward"),
    ]
    # The gradient takes 30 of the activation's 40 MiB; the next step's activation needs 40 anew.
    assert reserved_peak(storages) == (30 + 40 + 40) * MIB
    assert reserved_peak(storages, residents=[32 * MIB]) == (30 + 40 + 40 + 32) * MIB
