"""Intel's GPUs on made-up trees: an ``xe`` card of two tiles, an ``i915`` card, and what lacks."""

import pytest

from alignmeter.telemetry.base import FIGURES, THROTTLES
from alignmeter.telemetry.intel.sysfs import open_intel

PID = 77
MAX, ARC, INTEGRATED = "0000:29:00.0", "0000:03:00.0", "0000:00:02.0"


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")
    return file


def card(root, number, bus, driver, *, vendor="0x8086", product="0x0bd5"):
    """``/sys/class/drm/cardN`` with its links, as the kernel makes them."""
    device = root / "sys/devices/pci0000:00" / bus
    put(device / "vendor", vendor)
    put(device / "device", product)
    module = root / "sys/bus/pci/drivers" / driver
    module.mkdir(parents=True, exist_ok=True)
    (device / "driver").symlink_to(module)
    folder = root / "sys/class/drm" / f"card{number}"
    folder.mkdir(parents=True)
    (folder / "device").symlink_to(device)
    put(root / f"sys/class/drm/card{number}-DP-1/status", "disconnected")
    return folder, device


def client(root, handle, bus, number, *lines, opened="/dev/dri/renderD128"):
    """One open file of the process: a DRM client on ``bus``."""
    folder = root / f"proc/{PID}"
    (folder / "fd").mkdir(parents=True, exist_ok=True)
    (folder / "fd" / str(handle)).symlink_to(opened)
    head = f"pos:\t0\ndrm-driver:\txe\ndrm-client-id:\t{number}\ndrm-pdev:\t{bus}\n"
    put(folder / "fdinfo" / str(handle), head + "\n".join(lines))


@pytest.fixture
def xe(tmp_path):
    """A card of two tiles whose second unit of the first tile is the media engine's."""
    folder, device = card(tmp_path, 1, MAX, "xe")
    hwmon = device / "hwmon/hwmon4"
    put(hwmon / "name", "xe")
    for name, value in {
        "energy1_input": 5_000_000, "energy2_input": 4_000_000, "power1_max": 0,
        "power1_rated_max": 600_000_000, "temp2_input": 45_000, "temp3_input": 90_000,
    }.items():  # fmt: skip
        put(hwmon / name, value)
    for tile, unit, actual in ((0, 0, 1600), (0, 1, 100), (1, 2, 1400)):
        freq = device / f"tile{tile}/gt{unit}/freq0"
        put(freq / "act_freq", actual)
        put(freq / "rp0_freq", 1600)
        put(freq / "throttle/status", 0)
        put(freq / "throttle/reason_pl1", 0)
        put(freq / "throttle/reason_thermal", 0)
    for tile in (0, 1):
        put(device / f"tile{tile}/physical_vram_size_bytes", 64 * 2**30)
    (tmp_path / f"proc/{PID}/fd").mkdir(parents=True)
    return tmp_path, folder, device


def test_an_xe_card(xe):
    root, _, _ = xe
    telemetry = open_intel(PID, root)
    probe = telemetry.probe()
    assert probe.available
    assert probe.library.endswith(", xe")
    assert telemetry.devices() == [MAX]
    sample = telemetry.read(MAX)
    assert sample.energy_j == pytest.approx(5.0), "the card, not the package"
    assert sample.clock_mhz == pytest.approx(1500), "the mean of both tiles, without the media unit"
    assert sample.temperature_c == pytest.approx(45.0), "the package's, not the memory's"
    assert sample.throttles == ()
    assert sample.memory_process_bytes == 0, "it holds nothing there"
    identity = telemetry.identity(MAX)
    assert identity.name == "Intel GPU 8086:0bd5"
    assert identity.pci_bus_id == MAX
    assert identity.driver.startswith("xe, ")
    assert identity.memory_bytes == 128 * 2**30
    assert identity.power_cap_w == pytest.approx(600), "0 is a limit switched off"
    assert identity.clocks_mhz == {"compute": 1600}
    capabilities = telemetry.capabilities(MAX)
    assert capabilities.energy_scope == "module", "two tiles share the counter"
    for figure in ("power_w", "memory_used_bytes", "memory_clock_mhz", "ecc_errors", "device_s"):
        assert capabilities.missing[figure], figure
    assert "torch.xpu" in capabilities.missing["memory_used_bytes"]
    telemetry.close()


def test_an_i915_card_has_its_own_counter_and_not_a_unit_s(tmp_path):
    folder, device = card(tmp_path, 0, ARC, "i915", product="0x56a0")
    for number, (name, energy) in enumerate((("i915_gt0", 1), ("i915", 7_500_000))):
        put(device / f"hwmon/hwmon{number}/name", name)
        put(device / f"hwmon/hwmon{number}/energy1_input", energy)
        put(device / f"hwmon/hwmon{number}/temp1_input", 50_000)
    put(folder / "gt/gt0/rps_act_freq_mhz", 2100)
    put(folder / "gt/gt0/rps_RP0_freq_mhz", 2400)
    put(folder / "gt/gt0/throttle_reason_status", 1)
    put(folder / "gt/gt0/throttle_reason_pl1", 1)
    put(folder / "gt/gt0/throttle_reason_vr_tdc", 1)
    put(folder / "gt/gt0/throttle_reason_prochot", 0)
    telemetry = open_intel(PID, tmp_path)
    sample = telemetry.read(ARC)
    assert sample.energy_j == pytest.approx(7.5)
    assert sample.clock_mhz == 2100
    assert sample.temperature_c == 50
    assert sample.throttles == ("current_limit", "power_cap")
    assert telemetry.capabilities(ARC).energy_scope == "gpu"
    identity = telemetry.identity(ARC)
    assert (identity.memory_bytes, identity.power_cap_w) == (None, None)
    put(folder / "lmem_total_bytes", 16 * 2**30)
    assert telemetry.identity(ARC).memory_bytes == 16 * 2**30


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("pl2", "power_cap"),
        ("psys_pl1", "power_cap"),
        ("pl4", "current_limit"),
        ("iccmax", "current_limit"),
        ("mem_thermal", "thermal"),
        ("ratl", "thermal"),
        ("prochot", "hardware"),
        ("p0_freq", "clock_setting"),
        ("of_a_later_kernel", "other"),
    ],
)
def test_throttle_reasons_become_shared_words(xe, reason, word):
    root, _, device = xe
    throttle = device / "tile1/gt2/freq0/throttle"
    put(throttle / "status", 1)
    put(throttle / f"reason_{reason}", 1)
    assert word in THROTTLES
    assert open_intel(PID, root).read(MAX).throttles == (word,)


def test_the_memory_of_a_process_counts_each_client_once(xe):
    root, _, _ = xe
    held = ("drm-total-vram0:\t900 MiB", "drm-resident-vram0:\t200 MiB", "drm-resident-gtt:\t1 MiB")
    client(root, 5, MAX, 1, *held)
    client(root, 6, MAX, 1, *held)  # the same client, a duplicated handle
    client(root, 7, MAX, 2, "drm-total-vram0:\t512 KiB", "drm-total-vram1:\t1024")
    client(root, 8, ARC, 3, "drm-resident-local0:\t64 MiB")  # another device
    client(root, 9, MAX, 4, *held, opened="/dev/null")  # not a GPU's file
    (root / f"proc/{PID}/fd/10").write_text("no link: a file that was closed while we looked")
    held_bytes = 200 * 2**20 + 512 * 2**10 + 1024
    assert open_intel(PID, root).read(MAX).memory_process_bytes == held_bytes


@pytest.mark.parametrize("lines", [(), ("drm-resident-vram0:\tplenty",)])
def test_a_kernel_that_tells_no_memory_of_a_process(xe, lines):
    root, _, _ = xe
    client(root, 5, MAX, 1, *lines)
    sample = open_intel(PID, root).read(MAX)
    assert sample.memory_process_bytes is None
    assert "fdinfo" in sample.missing["memory_process_bytes"]


def test_a_process_that_is_gone(xe):
    root, _, _ = xe
    missing = open_intel(PID + 1, root).read(MAX).missing
    assert "cannot be read" in missing["memory_process_bytes"]


def test_a_card_that_tells_nothing_has_a_reason_for_each_figure(tmp_path):
    card(tmp_path, 0, ARC, "xe")
    telemetry = open_intel(PID, tmp_path)
    sample = telemetry.read(ARC)
    assert sample.throttles is None
    for figure in (*FIGURES, "throttles"):
        assert getattr(sample, figure) is None
        assert sample.missing[figure], figure
    assert telemetry.capabilities(ARC).energy_scope is None
    assert telemetry.identity(ARC).clocks_mhz == {}


def test_a_sensor_that_fails_later(xe):
    root, _, device = xe
    telemetry = open_intel(PID, root)
    (device / "hwmon/hwmon4/energy1_input").unlink()
    sample = telemetry.read(MAX)
    assert sample.energy_j is None
    assert sample.missing["energy_j"]
    assert sample.clock_mhz is not None, "the rest goes on"


def test_only_discrete_cards_of_intel_count(xe):
    root, _, _ = xe
    card(root, 0, INTEGRATED, "i915")
    card(root, 2, ARC, "xe", vendor="0x1002")
    card(root, 3, "0000:04:00.0", "vfio-pci")
    assert open_intel(PID, root).devices() == [MAX]


def test_a_discrete_card_passed_to_a_machine_at_an_integrated_one_s_address(tmp_path):
    _, device = card(tmp_path, 0, INTEGRATED, "xe")
    put(device / "tile0/physical_vram_size_bytes", 2**34)
    assert open_intel(PID, tmp_path).devices() == [INTEGRATED]


def test_none_here_says_why(tmp_path):
    nothing = open_intel(PID, tmp_path)
    assert nothing.devices() == []
    assert "no Intel GPU" in nothing.probe().reason
    assert "modprobe" in nothing.probe().remedy
    card(tmp_path, 0, INTEGRATED, "i915")
    integrated = open_intel(PID, tmp_path).probe()
    assert not integrated.available
    assert "integrated" in integrated.reason


def test_an_unknown_device_is_a_key_error(xe):
    telemetry = open_intel(PID, xe[0])
    for question in (telemetry.identity, telemetry.read, telemetry.capabilities):
        with pytest.raises(KeyError):
            question(ARC)
