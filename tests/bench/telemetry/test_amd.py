"""AMD SMI through AMD's own Python package, on a library that reads its devices from a scenario."""

import threading

import pytest
from amd_stub import MI210, MI250, MI300X, MI300X_CPX, MI355X, why_not
from stub_libraries import square_wave

from alignmeter.telemetry import open_telemetry
from alignmeter.telemetry.amd.figures import joules_per_count
from alignmeter.telemetry.amd.smi import AmdSmi

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

COUNT_J = 2**-16
PPT, TDC_GFX, TEMP_MEM, PROCHOT = 1 << 0, 1 << 16, 1 << 34, 1 << 47


def test_an_mi210_averages_its_power(machine):
    steps = [(0.0, 250.0, 5 * 2**30 + 4096, 0)]
    telemetry = machine.open(MI210 | {"hip_uuid": "GPU-0xCF1182F2988C0A4C"}, traces={0: steps})
    assert telemetry.probe().available
    assert telemetry.probe().library == "AMD SMI 26.0.2 (ROCm 7.0.2)"
    assert telemetry.devices() == ["GPU-cf1182f2988c0a4c"]  # as rocminfo spells it
    (device,) = telemetry.devices()
    who = telemetry.identity(device)
    assert who.name == "AMD Instinct MI210"
    assert who.uuid == device
    assert (who.pci_bus_id, who.energy_group) == ("0000:43:00.0", "0000:43:00.0")
    assert (who.driver, who.form_factor, who.partition) == ("6.14.14", "PCIe", None)
    assert (who.memory_bytes, who.power_cap_w) == (68_702_699_520, 300.0)
    assert who.clocks_mhz == {"compute": 1700.0, "memory": 1600.0}

    machine.clock.set(10.0)
    sample = telemetry.read(device)
    assert sample.power_w == 250.0
    assert sample.memory_used_bytes == 5 * 2**30 + 4096
    assert sample.memory_process_bytes == 5 * 2**30 + 4096
    assert (sample.clock_mhz, sample.memory_clock_mhz) == (1700.0, 1600.0)
    assert (sample.temperature_c, sample.ecc_errors, sample.throttles) == (61.0, 0, ())
    assert sample.missing == {}
    can = telemetry.capabilities(device)
    assert (can.power_kind, can.power_scope, can.energy_scope) == ("average", "gpu", "gpu")


def test_energy_is_the_trace_s_and_has_the_counter_s_own_time(machine):
    """2 s of 400 W for a quarter and 100 W for the rest of each 0.4 s: 350 J, in steps of 15.3 µJ.

    The library says 15.3 µJ a count where the firmware counts 2**-16 J: 0.9 J too much.
    """
    wave = square_wave(0.4, high_w=400.0, low_w=100.0, share=0.25, until_s=4.0)
    telemetry = machine.open(MI300X, traces={0: wave})
    (device,) = telemetry.devices()
    machine.clock.set(0.8)
    start = telemetry.read(device)
    machine.clock.set(2.811)
    end = telemetry.read(device)
    assert end.energy_j - start.energy_j == pytest.approx(350.0, abs=2 * COUNT_J)
    assert end.device_s - start.device_s == pytest.approx(2.0, abs=1e-8)  # a tick every 20 ms
    assert end.monotonic_s > start.monotonic_s


@pytest.mark.parametrize(
    ("reported_uj", "unit_uj"), [(15.3, COUNT_J * 1e6), (15.259, COUNT_J * 1e6), (10.0, 10.0)]
)
def test_the_counter_s_unit(machine, reported_uj, unit_uj):
    """A unit that is not the known one's rounding is believed."""
    assert joules_per_count(reported_uj) * 1e6 == pytest.approx(unit_uj, rel=1e-9)
    device = MI300X | {"counter_resolution_uj": reported_uj, "energy_unit_uj": unit_uj}
    telemetry = machine.open(device, traces={0: [(0.0, 500.0, 0, 0)]})
    machine.clock.set(3.0)
    assert telemetry.read(*telemetry.devices()).energy_j == pytest.approx(1500.0, rel=1e-7)


def test_the_second_die_of_an_mi250_names_the_one_that_reports(machine):
    cards = [MI250[0], MI250[1], MI250[0] | {"bdf": "0000:c9:00.0"}]
    cards.append(MI250[1] | {"bdf": "0000:ce:00.0", "power": "na", "error_energy": 2})
    trace = [(0.0, 480.0, 2**30, 0)]
    telemetry = machine.open(*cards, traces=dict.fromkeys(range(4), trace))
    machine.clock.set(5.0)
    groups = [telemetry.identity(device).energy_group for device in telemetry.devices()]
    assert groups == ["0000:c1:00.0"] * 2 + ["0000:c9:00.0"] * 2
    first, second, _, fourth = telemetry.devices()
    assert telemetry.identity(first).form_factor == "OAM"
    assert telemetry.identity(second).power_cap_w is None
    can = telemetry.capabilities(first)
    assert (can.energy_scope, can.power_scope) == ("module", "module")
    sample = telemetry.read(first)
    assert (sample.power_w, sample.energy_j) == (480.0, pytest.approx(2400.0, abs=COUNT_J))
    for device, sibling in ((second, "0000:c1:00.0"), (fourth, "0000:c9:00.0")):
        sample = telemetry.read(device)
        assert (sample.power_w, sample.energy_j, sample.device_s) == (None, None, None)
        assert f"the first die, {sibling}, reports" in sample.missing["energy_j"]
        assert sample.memory_used_bytes == 2**30
        can = telemetry.capabilities(device)
        assert (can.energy_scope, can.power_scope, can.power_kind) == (None, None, None)


def test_an_mi300x_reports_its_current_power(machine):
    telemetry = machine.open(MI300X, traces={0: [(0.0, 700.0, 3 * 2**34, 0)]})
    machine.clock.set(1.0)
    (device,) = telemetry.devices()
    who = telemetry.identity(device)
    assert (who.partition, who.form_factor, who.power_cap_w) == ("SPX/NPS1", "OAM", 750.0)
    sample = telemetry.read(device)
    assert (sample.power_w, sample.memory_used_bytes) == (700.0, 3 * 2**34)
    can = telemetry.capabilities(device)
    assert (can.power_kind, can.power_scope, can.energy_scope) == ("instant", "gpu", "gpu")


def test_partitions_share_one_counter(machine):
    traces = {part: [(0.0, 640.0, part * 2**30, 0)] for part in range(8)}
    telemetry = machine.open(*MI300X_CPX, traces=traces)
    machine.clock.set(2.0)
    devices = telemetry.devices()
    assert devices == [f"0000:0c:00.{part}" for part in range(8)]  # the unique id is the socket's
    assert {telemetry.identity(d).energy_group for d in devices} == {"0000:0c:00.0"}
    assert {telemetry.identity(d).partition for d in devices} == {"CPX/NPS4"}
    samples = [telemetry.read(device) for device in devices]
    assert {sample.power_w for sample in samples} == {640.0}
    assert {sample.energy_j for sample in samples} == {1280.0}
    assert [sample.memory_used_bytes for sample in samples] == [n * 2**30 for n in range(8)]
    assert telemetry.capabilities(devices[3]).energy_scope == "socket"


def test_a_partition_without_a_sensor_says_who_has_it(machine):
    """As partition.md of AMD SMI has it: board power is on the first partition's node only."""
    telemetry = machine.open(
        MI300X_CPX[0], MI300X_CPX[1] | {"power": "na", "error_energy": 2, "error_metrics": 2}
    )
    sample = telemetry.read(telemetry.devices()[1])
    assert (sample.power_w, sample.energy_j, sample.throttles) == (None, None, None)
    for figure in ("power_w", "energy_j"):
        assert "first partition of its socket, 0000:0c:00.0, may have it" in sample.missing[figure]
    assert "not supported" in sample.missing["throttles"]


def test_an_mi355x_may_draw_more_than_an_mi300x(machine):
    telemetry = machine.open(MI355X, traces={0: [(0.0, 1390.0, 2**38, 0)]})
    machine.clock.set(1.0)
    (device,) = telemetry.devices()
    assert telemetry.identity(device).form_factor == "OAM"
    assert telemetry.identity(device).memory_bytes == 309_220_868_096
    sample = telemetry.read(device)
    assert (sample.power_w, sample.memory_used_bytes) == (1390.0, 2**38)


def test_an_mi300a_counts_its_cpu_too(machine):
    telemetry = machine.open(MI300X | {"name": "AMD Instinct MI300A"})
    (device,) = telemetry.devices()
    assert telemetry.identity(device).form_factor == "APU"
    assert telemetry.capabilities(device).energy_scope == "module"


def test_hip_s_order_is_not_amd_smi_s(machine):
    buses = [f"0000:{bus}:00.0" for bus in ("0c", "22", "38", "5c")]
    ids = ["GPU-000000000000000" + digit for digit in "abcd"]
    four = [MI300X | {"bdf": b, "hip_uuid": i} for b, i in zip(buses, ids, strict=True)]
    hip_ids = (3, 1, 2, 0)
    for key, ranks in (("hip_id", hip_ids), ("kfd_node", (9, 4, 6, 2))):
        older = {} if key == "hip_id" else {"error_enumeration": 2}
        telemetry = machine.open(
            *(d | {key: rank} | older for d, rank in zip(four, ranks, strict=True))
        )
        assert isinstance(telemetry, AmdSmi)
        who = [telemetry.identity(device) for device in telemetry.devices()]
        by_bus = [i.pci_bus_id for i in sorted(who, key=lambda i: i.runtime_index)]
        assert by_bus == [buses[3], buses[1], buses[2], buses[0]]
        assert telemetry.devices() == (ids if key == "hip_id" else buses)


def test_an_unknown_order_is_not_guessed(machine):
    unknown = {"error_enumeration": 2, "error_kfd": 2}
    alone = machine.open(MI300X | unknown)
    assert alone.identity(*alone.devices()).runtime_index == 0
    two = machine.open(MI300X | unknown, MI355X | unknown)
    assert [two.identity(device).runtime_index for device in two.devices()] == [None, None]


def test_millivolts_are_not_watts(machine):
    """What a binding of another release made of the struct: 880 mV as 880 W, at a cap of 300."""
    telemetry = machine.open(MI210 | {"power_reads": 880})
    sample = telemetry.read(*telemetry.devices())
    assert sample.power_w is None
    assert sample.missing == {"power_w": "out of range: 880 is not within 0.1 and 600"}


def test_a_frozen_or_restarted_counter_is_passed_on(machine):
    """To judge it takes several readings, which is not the adapter's task."""
    device = MI300X | {"energy_frozen_at": 2.0, "energy_back_at": 1.0}
    telemetry = machine.open(device, traces={0: [(0.0, 100.0, 0, 0)]})
    joules = []
    for now in (0.5, 0.99, 1.0, 1.5, 2.0, 3.0):
        machine.clock.set(now)
        joules.append(round(telemetry.read(*telemetry.devices()).energy_j, 3))
    assert joules == [50.0, 98.0, 0.0, 50.0, 100.0, 100.0]


def test_throttling_is_told_since_the_last_reading(machine):
    """MI300 counts how long it throttled; MI200 says what throttles now."""
    steps = [(0.0, 300.0, 0, 0), (1.0, 700.0, 0, PPT | TEMP_MEM), (2.0, 300.0, 0, 0)]
    steps.append((3.0, 300.0, 0, PROCHOT | TDC_GFX | (1 << 57) | (1 << 60)))
    telemetry = machine.open(MI300X, MI210, traces={0: steps, 1: steps})
    seen = []
    for now in (0.5, 1.5, 2.5, 2.9, 3.5):
        machine.clock.set(now)
        seen.append([telemetry.read(device).throttles for device in telemetry.devices()])
    both = ("power_cap", "thermal")
    now_only = ("hardware", "current_limit", "reliability", "other")
    assert seen == [[(), ()], [both, both], [both, ()], [(), ()], [("hardware",), now_only]]


def test_memory_belongs_to_the_process_asked_for(machine):
    device = MI300X | {"pid": 4321, "process_bytes": 2**33 + 4096}
    telemetry = machine.open(device, traces={0: [(0.0, 300.0, 2**34, 0)]}, pid=4321)
    sample = telemetry.read(*telemetry.devices())
    assert (sample.memory_used_bytes, sample.memory_process_bytes) == (2**34, 2**33 + 4096)
    other = machine.open(device, pid=1)
    sample = other.read(*other.devices())
    assert sample.memory_process_bytes is None
    assert "process 1 is not in the driver's list" in sample.missing["memory_process_bytes"]


def test_another_thread_is_turned_away(machine):
    telemetry = machine.open(MI300X)
    (device,) = telemetry.devices()
    raised = []

    def elsewhere():
        for call in (telemetry.probe, telemetry.devices, telemetry.close):
            with pytest.raises(RuntimeError, match="the thread that opened it") as caught:
                call()
            raised.append(caught)
        for question in (telemetry.read, telemetry.identity, telemetry.capabilities):
            with pytest.raises(RuntimeError, match="the thread that opened it") as caught:
                question(device)
            raised.append(caught)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(raised) == 6
    with pytest.raises(KeyError):
        telemetry.read("GPU-0123456789abcdef")


def test_the_registry_opens_it(machine):
    machine.describe(MI300X)
    machine.opened.append(open_telemetry("rocm"))
    assert len(machine.opened[0].devices()) == 1
