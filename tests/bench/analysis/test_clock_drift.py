"""A replicate whose clock is not that of its cell's other rounds is invalid."""

import pytest
from made_records import make_record
from msgspec.structs import replace

from alignmeter.analysis.clock_drift import with_clock_drift
from alignmeter.analysis.compare import compare
from alignmeter.records.folder import load_folders, write_record
from alignmeter.records.record import Energy, Memory, Provenance, Verdict

OK = Verdict(ok=True)


def at(mhz, replicate=0, *, memory_mhz=2600.0, kind="vram", energy_j=3.0, uuid="GPU-1",
       device="chip", **axes):  # fmt: skip
    made = make_record(replicate=replicate, method="dpo", **axes)
    return replace(
        made,
        memory=Memory(kind=kind, allocated_peak_bytes=1000),
        energy=Energy(source="counter", per_step_j=energy_j),
        validity=dict.fromkeys(("time", "memory", "energy", "numerics"), OK),
        provenance=Provenance(
            device=device, uuid=uuid, environment_digest="e",
            clocks_mhz={} if mhz is None else {"compute": mhz, "memory": memory_mhz},
        ),
    )  # fmt: skip


def spoiled(records):
    """Per record the metrics that its clock spoils."""
    return [
        [m for m, v in r.validity.items() if "clock_drift" in [reason.code for reason in v.reasons]]
        for r in with_clock_drift(records)
    ]


@pytest.mark.parametrize(
    ("clocks", "drifted"),
    [
        ([1980, 1980, 1980], []),
        ([1980, 1950, 1925], []),  # 25 MHz below the median of 1950
        ([1980, 1980, 1900], [2]),  # 4 %
        ([1500, 1980, 1980], [0]),
        ([1500, 1980], [0, 1]),  # of two, nobody knows which
        ([1500], []),
        ([None, 1980, 1500, 1980], [2]),
    ],
)
def test_clocks_over_3_percent_off_the_rounds_median(clocks, drifted):
    found = spoiled([at(mhz, k) for k, mhz in enumerate(clocks)])
    assert [k for k, metrics in enumerate(found) if metrics] == drifted
    assert all(metrics in ([], ["time", "energy"]) for metrics in found)


def test_a_reason_names_the_clock_and_what_it_should_be():
    records = [at(1980, 0), at(1980, 1), at(1980, 2, memory_mhz=1300.0)]
    (reason,) = with_clock_drift(records)[2].validity["time"].reasons
    assert reason.text == "memory 1300 MHz, the rounds' median 2600 MHz"
    assert with_clock_drift(records)[:2] == records[:2]
    once = with_clock_drift(records)
    assert with_clock_drift(once) == once


@pytest.mark.parametrize(
    "other",
    [
        at(1500, 1, batch=3),
        at(1500, 1, device="another chip"),
        at(1500, 1, kind="cpu tensor storage"),
        replace(at(1500, 1), status="crashed"),
    ],
    ids=["cell", "device", "cpu", "failed"],
)
def test_only_rounds_of_one_cell_on_one_accelerator_are_compared(other):
    assert spoiled([at(1980, 0), other]) == [[], []]


def test_energy_that_was_not_measured_is_not_spoiled():
    records = [at(mhz, k, energy_j=None) for k, mhz in enumerate((1980, 1980, 1500))]
    assert spoiled(records) == [[], [], ["time"]]


def test_reading_judges_nothing(tmp_path):
    """What the files say is read; clocks are compared over the whole set that is asked about."""
    for k, mhz in enumerate((1500, 1500, 1900)):
        path = write_record(tmp_path / str(k), at(mhz, k))
        assert b"clock_drift" not in path.read_bytes()
    found = load_folders([tmp_path]).records
    assert all(r.validity["time"].ok for r in found)
    assert [r.validity["time"].ok for r in with_clock_drift(found)] == [True, True, False]


def test_compare_leaves_them_out():
    base = [at(1980, k) for k in range(4)]
    new = with_clock_drift([at(mhz, k) for k, mhz in enumerate((1980, 1980, 1500, 1980))])
    (row,) = (row for row in compare(base, new).rows if row.metric == "time")
    assert row.verdict == "equal"
    assert "left out clock_drift in 1 of 4 replicates" in row.reason
