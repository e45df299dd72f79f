"""How even ranks are, and what several devices bring over one."""

import msgspec
import pytest
from made_ranks import SENT, make_ranks

from alignmeter.analysis.delta import deltas
from alignmeter.analysis.likeness import groups
from alignmeter.analysis.ranks import efficiencies, spread_of
from alignmeter.records.ranks import Collective, Communication
from alignmeter.records.record import Reason, Verdict


def test_the_most_of_a_rank_stands_against_the_mean_of_all():
    record = make_ranks(peaks=[100, 300], seconds=[1.0, 1.0])
    peak = spread_of(record, lambda rank: rank.peak_bytes)
    assert (peak.rank, peak.percent) == (1, pytest.approx(50))
    time = spread_of(record, lambda rank: rank.median_s)
    assert (time.rank, time.percent) == (0, 0.0)
    assert spread_of(record, lambda rank: rank.energy_j) is None
    assert spread_of(make_ranks(peaks=[5], seconds=[1.0]), lambda rank: rank.peak_bytes) is None


def test_several_devices_stand_against_the_same_step_of_one():
    """Two devices in 6 s what one does in 10: 1.67 times as fast, 83 % of each one's own speed."""
    one = [make_ranks(peaks=[1000], seconds=[10.0], replicate=k) for k in range(3)]
    two = [make_ranks(peaks=[600, 500], seconds=[5.0, 6.0], replicate=k) for k in range(3)]
    other = make_ranks(peaks=[1, 1], seconds=[1.0, 1.0], seq_len=32)
    (row,) = efficiencies(groups([*one, *two, other]))
    assert row.cell.world_size == 2
    assert row.speedup.value == pytest.approx(10 / 6)
    assert row.share.value == pytest.approx(10 / 12)
    assert row.share.low == pytest.approx(row.speedup.low / 2)
    assert row.peak.value == pytest.approx(0.6)


def test_an_invalid_time_gives_no_efficiency_but_says_why():
    one, two = make_ranks(peaks=[10], seconds=[1.0]), make_ranks(peaks=[6, 6], seconds=[1.0, 1.0])
    loaded = Verdict(ok=False, reasons=[Reason(code="host_loaded", text="others")])
    two = msgspec.structs.replace(two, validity={**two.validity, "time": loaded})
    (row,) = efficiencies(groups([one, two]))
    assert row.speedup is row.share is None
    assert "host_loaded" in row.reason
    assert row.peak.value == pytest.approx(0.6)


def test_the_delta_is_one_for_each_way_to_share():
    """Peaks of one device, of shares and of copies are never pooled."""
    of = {"dpo": (100, 60, 90), "ppo": (300, 120, 280)}
    records = []
    for method, (alone, shares, copies) in of.items():
        records += [
            make_ranks(peaks=[alone], seconds=[1.0], method=method),
            make_ranks(peaks=[shares] * 2, seconds=[1.0] * 2, method=method),
            make_ranks(peaks=[copies] * 2, seconds=[1.0] * 2, method=method, parallel="ddp"),
        ]
    found = {(d.cell.world_size, d.cell.parallel): d for d in deltas(records)}
    assert {key: (d.peak_bytes, d.versus_peak_bytes) for key, d in found.items()} == {
        (1, "none"): (100, 300), (2, "fsdp2"): (60, 120), (2, "ddp"): (90, 280),
    }  # fmt: skip


def test_seconds_of_collectives_are_told_of_all_kinds_or_not_at_all():
    assert SENT.bytes == 4 * 2**20
    assert SENT.exposed_s == pytest.approx(0.2)
    one = {**SENT.kinds, "broadcast": Collective(calls=1, bytes=1)}
    assert Communication(kinds=one).exposed_s is None
    assert Communication().exposed_s is None
