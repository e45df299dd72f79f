"""What NVML's adapter reads, through the real pynvml on a library that a scenario drives."""

import json
import subprocess
import sys
import time

import pynvml
import pytest
from nvml_stub import (
    GH200,
    H100_PCIE,
    H100_SXM,
    H200,
    constant,
    environment,
    mig_slice,
)
from stub_libraries import NO_COMPILER, Clock, Scenario, compiler

from alignmeter.telemetry.base import Capabilities, Identity
from alignmeter.telemetry.nvidia.codes import form_factor, throttles

GIB = 2**30

pytestmark = pytest.mark.skipif(compiler() is None, reason=NO_COMPILER)


def test_what_an_h100_is_and_can_tell(play):
    played = play(H100_SXM)
    assert played.telemetry.devices() == [H100_SXM["uuid"]]
    assert played.telemetry.probe().library == "NVML 13.580.65.06"
    assert played.telemetry.probe().reason is None
    assert played.identity() == Identity(
        name="NVIDIA H100 80GB HBM3",
        uuid=H100_SXM["uuid"],
        pci_bus_id="0000:1b:00.0",
        driver="580.65.06",
        memory_bytes=81559 * 2**20,
        form_factor="SXM",
        power_cap_w=700.0,
        energy_group=H100_SXM["uuid"],
        clocks_mhz={"compute": 1980, "memory": 2619},
    )
    assert played.capabilities() == Capabilities(
        energy_scope="gpu",
        power_scope="gpu",
        power_kind="instant",
        missing={"device_s": "NVML's counter has no clock of its own"},
    )


@pytest.mark.parametrize(
    ("name", "cap_w", "form"),
    [
        ("NVIDIA H100 PCIe", 350.0, "PCIe"),
        ("NVIDIA H100 NVL", 400.0, "NVL"),
        ("NVIDIA H200", 700.0, "SXM"),
        ("NVIDIA H200", 300.0, None),
        ("NVIDIA H200", None, None),
        ("NVIDIA H200 NVL", 600.0, "NVL"),
        ("NVIDIA A100-SXM4-80GB", 400.0, "SXM"),
        ("NVIDIA A100 80GB PCIe", 300.0, "PCIe"),
        ("NVIDIA A100-PCIE-40GB", 250.0, "PCIe"),
        ("NVIDIA GH200 480GB", 900.0, "superchip"),
        ("NVIDIA GB200", 1200.0, "superchip"),
        ("NVIDIA B200", 1000.0, "SXM"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", 700.0, "SXM"),
        ("NVIDIA L40S", 350.0, None),
        ("NVIDIA GeForce RTX 4090", 450.0, None),
    ],
)
def test_form_factor(name, cap_w, form):
    assert form_factor(name, cap_w) == form


def test_a_reading_is_what_the_trace_says(play):
    """100 W for 1 s, then 400 W: 500 J after 2 s, of which the last second used 400 J."""
    trace = [(0.0, 100.0, GIB, 0x1), (1.0, 400.0, 3 * GIB, 0x4)]
    played = play(H100_SXM | {"clock_mhz": 1665, "temperature_c": 61, "ecc": 2}, traces={0: trace})
    before = time.monotonic()
    first, last = played.at(1.0), played.at(2.0)
    assert before <= first.monotonic_s <= last.monotonic_s <= time.monotonic()
    assert last.energy_j == pytest.approx(500.0, abs=1e-3)
    assert last.energy_j - first.energy_j == pytest.approx(400.0, abs=1e-3)
    assert last.power_w == pytest.approx(400.0)
    assert (last.memory_used_bytes, last.memory_process_bytes) == (3 * GIB, 3 * GIB)
    assert (last.clock_mhz, last.memory_clock_mhz, last.temperature_c) == (1665, 2619, 61)
    assert (last.ecc_errors, last.throttles) == (2, ("power_cap",))
    assert list(last.missing) == ["device_s"]


def test_memory_is_what_is_allocated_and_not_what_is_reserved(play):
    """To the byte; version 1 of NVML's struct adds the 530 MiB that the driver keeps."""
    used = 3 * GIB + 12_345
    played = play(H100_PCIE | {"reserved_mib": 530}, traces=constant(90.0, used))
    assert played.at(0.5).memory_used_bytes == used
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    assert pynvml.nvmlDeviceGetMemoryInfo(handle).used == used + 530 * 2**20


def test_two_gpus_are_two_meters(play):
    played = play(H100_SXM, H200, traces={0: constant(100.0)[0], 1: constant(350.0, 7 * GIB)[0]})
    assert played.telemetry.devices() == [H100_SXM["uuid"], H200["uuid"]]
    assert [played.at(2.0, number).energy_j for number in (0, 1)] == [200.0, 700.0]
    assert played.at(2.0, 1).memory_used_bytes == 7 * GIB
    assert played.identity(0).energy_group != played.identity(1).energy_group


def test_a_gh200_that_tells_power_of_its_module_only(play):
    """Every figure is the module's then, and so is the cap that a power is held against."""
    played = play(GH200, traces=constant(1900.0))
    capabilities = played.capabilities()
    assert (capabilities.energy_scope, capabilities.power_scope) == ("module", "module")
    assert (played.identity().form_factor, played.identity().power_cap_w) == ("superchip", 1000.0)
    assert played.at(1.0).power_w == pytest.approx(1900.0)  # more than twice the GPU's 900 W
    assert played.at(1.0).energy_j == pytest.approx(1900.0)


def test_a_gh200_that_tells_both_powers_has_a_counter_of_its_module(play):
    """The GPU draws 0.8 of 500 W; the counter counts all 500."""
    played = play(GH200 | {"scopes": "gpu module", "gpu_share": 0.8}, traces=constant(500.0))
    capabilities = played.capabilities()
    assert (capabilities.energy_scope, capabilities.power_scope) == ("module", "gpu")
    assert played.at(2.0).power_w == pytest.approx(400.0)
    assert played.at(2.0).energy_j == pytest.approx(1000.0)


def test_a_scope_that_answers_with_zero_is_not_there(play):
    played = play(GH200 | {"scopes": "gpu module", "gpu_share": 0}, traces=constant(500.0))
    assert played.capabilities().power_scope == "module"
    assert played.at(1.0).power_w == pytest.approx(500.0)


def test_gpus_of_one_module_are_one_energy_group(play):
    second = GH200 | {"uuid": "GPU-4-second"}
    other = GH200 | {"uuid": "GPU-4-other", "numa_node": 1}
    played = play(GH200, second, other)
    groups = [played.identity(number).energy_group for number in range(3)]
    assert groups[0] == groups[1] != groups[2]


def test_without_a_link_to_a_cpu_the_counter_is_the_gpus(play):
    played = play(H100_SXM | {"scopes": "gpu module"})
    assert played.capabilities().energy_scope == "gpu"


def test_slices_have_memory_but_neither_power_nor_energy(play):
    """Indices 0 and 2 are taken. NVML does answer for a slice: with the power of the whole GPU."""
    slices = [mig_slice(H100_SXM, device=0, index=0), mig_slice(H100_SXM, device=0, index=2)]
    traces = {0: constant(300.0, 6 * GIB, 0x4)[0], 2: constant(0.0, 5 * GIB)[0]}
    played = play(H100_SXM, *slices, traces=traces)
    assert played.telemetry.devices() == [H100_SXM["uuid"], *(s["uuid"] for s in slices)]
    assert played.telemetry.probe().reason is None
    gpu, sample = played.at(2.0, 0), played.at(2.0, 2)
    assert (gpu.energy_j, gpu.memory_used_bytes) == (600.0, 6 * GIB)
    assert (sample.memory_used_bytes, sample.memory_process_bytes) == (5 * GIB, 5 * GIB)
    assert sample.throttles == ("power_cap",)
    assert sample.missing["power_w"].startswith("NVML gives no power per MIG slice")
    assert sample.missing["energy_j"].startswith("NVML gives no energy per MIG slice")
    identity = played.identity(2)
    assert (identity.partition, identity.memory_bytes) == ("1g.10gb", 9984 * 2**20)
    assert (identity.pci_bus_id, identity.power_cap_w) == ("0000:1b:00.0", None)
    assert identity.energy_group == played.identity(0).energy_group == H100_SXM["uuid"]
    assert [played.identity(number).divided for number in range(3)] == [True, False, False]
    assert played.capabilities(2).energy_scope is None
    handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(pynvml.nvmlDeviceGetHandleByIndex(0), 2)
    assert pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 600_000


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ("self=used", 3 * GIB),
        ("4242=999 self=1000", 1000),
        ("self=1000 self=24", 1024),
        ("none", "in another PID namespace"),
        ("4242=999", "in another PID namespace"),
        ("self=unknown", "without its memory"),
    ],
)
def test_memory_of_this_process(play, processes, expected):
    played = play(H100_SXM | {"processes": processes}, traces=constant(100.0, 3 * GIB))
    assert "memory_process_bytes" not in played.capabilities().missing
    sample = played.at(1.0)
    if isinstance(expected, int):
        assert sample.memory_process_bytes == expected
    else:
        assert sample.memory_process_bytes is None
        assert expected in sample.missing["memory_process_bytes"]
    assert sample.memory_used_bytes == 3 * GIB


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x0, ()),
        (0x1, ("idle",)),
        (0x2, ("clock_setting",)),
        (0x100, ("clock_setting",)),
        (0x4, ("power_cap",)),
        (0x8, ("hardware",)),
        (0x8 | 0x40, ("thermal",)),
        (0x8 | 0x80, ("power_brake",)),
        (0x20 | 0x40, ("thermal",)),
        (0x10, ("sync_boost",)),
        (0x400, ("reliability",)),
        (0x200, ("other",)),
        (0x4 | 1 << 40, ("power_cap", "other")),
    ],
)
def test_clock_reasons_in_words(play, bits, words):
    assert throttles(bits) == words
    assert play(H100_SXM, traces=constant(100.0, GIB, bits)).at(1.0).throttles == words


def test_closing_lets_go_once_and_leaves_nvml_to_others(play):
    played = play(H100_SXM)
    pynvml.nvmlInit()
    played.telemetry.close()
    played.telemetry.close()
    assert pynvml.nvmlDeviceGetCount() == 1
    pynvml.nvmlShutdown()
    with pytest.raises(pynvml.NVMLError_Uninitialized):
        pynvml.nvmlDeviceGetCount()
    with pytest.raises(KeyError):
        played.telemetry.read(H100_SXM["uuid"])


def test_a_process_of_its_own_finds_the_library_by_name(library, tmp_path):
    """As the sampler does; and importing the adapter alone imports no pynvml."""
    script = (
        "import json, sys, msgspec, alignmeter.telemetry.nvidia.nvml as nvml\n"
        "assert 'pynvml' not in sys.modules\n"
        "telemetry = nvml.open_nvml(4242)\n"
        "print(json.dumps(msgspec.structs.asdict(telemetry.read(telemetry.devices()[0]))))\n"
        "telemetry.close()\n"
    )
    clock = Clock(tmp_path / "clock")
    clock.set(2.5)
    scenario = Scenario([H200 | {"processes": "4242=1024"}], traces=constant(200.0))
    ran = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=environment(library, scenario.write(tmp_path / "scenario"), clock),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    sample = json.loads(ran.stdout)
    assert (sample["energy_j"], sample["memory_process_bytes"]) == (500.0, 1024)
