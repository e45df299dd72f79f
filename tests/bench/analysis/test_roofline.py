"""Bounds against times by hand."""

import pytest

from alignmeter.analysis.chips import peak, peaks
from alignmeter.analysis.roofline import Ceilings, MeasuredCeilings, bound_of, ceilings_of
from alignmeter.records.demand import Demand

CEILINGS = Ceilings(flops_per_s=100.0, bytes_per_s={0: 10.0})


def test_a_phase_takes_the_longer_of_both_times_and_a_step_all_its_phases():
    """200 FLOPs at 100 per s are 2 s, 30 bytes at 10 per s are 3 s; 500 FLOPs are 5 s."""
    demand = {
        "rollout": Demand(flops=200, moved_bytes=30, call_bytes=30),
        "forward": Demand(flops=500, moved_bytes=40, call_bytes=40),
        "optimizer": Demand(flops=0, moved_bytes=10, call_bytes=10),
    }
    found = bound_of(demand, CEILINGS)
    assert [(p.seconds, p.limit) for p in found.phases.values()] == [
        (3.0, "bandwidth"), (5.0, "FLOP/s"), (1.0, "bandwidth"),
    ]  # fmt: skip
    assert found.seconds == 9.0
    assert found.longest == ("forward", "FLOP/s")


def test_what_a_cache_may_hold_moves_as_fast_as_a_cache():
    own = MeasuredCeilings(
        fp32_flops_per_s=4.0, bf16_flops_per_s=8.0, bytes_per_s={4: 90.0, 64: 30.0, 256: 10.0}
    )
    ceilings = own.of(bf16=False)
    sets = (0, 3, 4, 63, 64, 255, 256, 10**9)
    assert [ceilings.bandwidth(size) for size in sets] == [90, 90, 90, 90, 30, 30, 10, 10]
    assert (ceilings.flops_per_s, own.of(bf16=True).flops_per_s) == (4.0, 8.0)
    asked = Demand(flops=0, moved_bytes=900, call_bytes=9)
    assert bound_of({"rollout": asked}, ceilings).seconds == 10.0


def test_a_chip_has_a_bound_where_both_peaks_have_a_source():
    found = ceilings_of(peak("H100-SXM"))
    assert found == Ceilings(flops_per_s=989.4e12, bytes_per_s={0: 3.35e12})
    for chip in peaks().values():
        has_both = None not in (chip.bf16_flops_per_s, chip.bandwidth_bytes_per_s)
        assert (ceilings_of(chip) is not None) == has_both


def test_nothing_asked_takes_no_time():
    with pytest.raises(ValueError, match="empty"):
        _ = bound_of({}, CEILINGS).longest
    assert bound_of({}, CEILINGS).seconds == 0
