"""What surrounds the ledger on a device, and the plan's error, from records with chosen figures."""

import msgspec
import pytest
from made_records import make_record

from alignmeter.analysis.footprint import FOOTPRINT, footprint, prediction_error_percent
from alignmeter.records.record import Memory, Reason, Telemetry
from alignmeter.units import GIB, MIB


def on_device(*, telemetry=None, reason=None, **peaks):
    """A record of VRAM with these peaks, ``allocated=…`` and so on."""
    memory = Memory(
        kind="vram", reason=reason, **{f"{name}_peak_bytes": count for name, count in peaks.items()}
    )
    return msgspec.structs.replace(
        make_record(), memory=memory, telemetry=telemetry or Telemetry(), ledger={}
    )


def test_the_gaps_between_the_four_peaks():
    """10 GiB allocated, 11 reserved, 11.5 of the process, 14 of the device: 1, 0.5 and 2.5 GiB."""
    record = on_device(
        allocated=10 * GIB, reserved=11 * GIB, process=23 * GIB // 2, device=14 * GIB
    )
    rows = footprint(record)
    assert [(row.name, row.bytes, row.reason) for row in rows] == [
        ("fragmentation", GIB, None),
        ("context", GIB // 2, None),
        ("other_processes", 5 * GIB // 2, None),
    ]
    total = record.memory.allocated_peak_bytes + sum(row.bytes for row in rows)
    assert total == record.memory.device_peak_bytes


def test_a_difference_below_zero_is_kept_with_a_note():
    rows = footprint(on_device(allocated=10, reserved=8, process=5, device=1))
    assert [(row.bytes, row.reason) for row in rows] == [
        (-2, "below zero: the two peaks are not of the same step"),
        (-3, "below zero: samples can miss a short peak"),
        (-4, "below zero: samples can miss a short peak"),
    ]


def test_what_is_missing_has_its_reason():
    telemetry = Telemetry(missing={"memory_process_bytes": "the driver gives none per process"})
    rows = footprint(on_device(allocated=10, reserved=12, device=20, telemetry=telemetry))
    assert [(row.bytes, row.reason) for row in rows] == [
        (2, None),
        (None, "no process peak: the driver gives none per process"),
        (None, "no process peak: the driver gives none per process"),
    ]


def test_without_a_sampler_its_reason_is_told():
    off = Telemetry(reason=Reason(code="sampler_off", text="--sample-hz is 0"))
    rows = footprint(on_device(allocated=10, reserved=12, telemetry=off))
    assert [row.reason for row in rows] == [
        None, "no process peak: --sample-hz is 0", "no process peak: --sample-hz is 0",
    ]  # fmt: skip


def test_a_sampler_is_not_to_blame_for_the_allocator():
    off = Telemetry(reason=Reason(code="sampler_off", text="--sample-hz is 0"))
    why = Reason(code="not_measured", text="the memory step was not reached")
    assert {row.reason for row in footprint(on_device(reason=why, telemetry=off))} == {
        "no allocated peak: the memory step was not reached",
        "no reserved peak: the memory step was not reached",
        "no process peak: the memory step was not reached",
    }
    silent = footprint(on_device(allocated=10, telemetry=off))
    assert silent[0].reason == "no reserved peak: the record does not say why"


def test_the_cpu_has_a_ledger_and_nothing_around_it():
    record = make_record()
    assert record.memory.kind == "cpu tensor storage"
    rows = footprint(record)
    assert [row.name for row in rows] == list(FOOTPRINT)
    assert {row.bytes for row in rows} == {None}
    assert all("no caching allocator" in row.reason for row in rows)


@pytest.mark.parametrize(
    ("predicted", "measured", "error"),
    [
        (110 * MIB, 100 * MIB, 10.0),
        (75 * MIB, 100 * MIB, -25.0),
        (7, 7, 0.0),
        (None, 7, None),
        (7, None, None),
        (7, 0, None),
        (0, 7, None),
        (-7, 7, None),
    ],
)
def test_the_plans_error_is_a_share_of_the_measured_peak(predicted, measured, error):
    memory = Memory(kind="vram", predicted_peak_bytes=predicted, allocated_peak_bytes=measured)
    assert prediction_error_percent(memory) == error
