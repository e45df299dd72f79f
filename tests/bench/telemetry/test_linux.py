"""The host as a device: RAPL, procfs and sysfs on made-up trees."""

import os
from pathlib import Path

import pytest

from alignmeter.telemetry.base import FIGURES
from alignmeter.telemetry.linux.host import open_cpu, peak_rss_bytes, reset_peak_rss

PID = 4242


def put(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")
    return file


def package(root, number, energy_uj, *, wraps_at_uj=1000, limits_uw=()):
    zone = root / "sys/class/powercap" / f"intel-rapl:{number}"
    put(zone / "name", f"package-{number}")
    put(zone / "max_energy_range_uj", wraps_at_uj)
    for index, limit in enumerate(limits_uw):
        put(zone / f"constraint_{index}_power_limit_uw", limit)
    return put(zone / "energy_uj", energy_uj)


@pytest.fixture
def host(tmp_path):
    """A server of two sockets that tells all it can."""
    package(tmp_path, 0, 900, limits_uw=(205_000_000, 246_000_000))
    package(tmp_path, 1, 100, limits_uw=(205_000_000, 246_000_000))
    put(tmp_path / "sys/class/powercap/intel-rapl:2/name", "psys")
    put(tmp_path / "sys/class/powercap/intel-rapl:0:0/name", "core")
    put(tmp_path / "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB")
    put(tmp_path / "proc/cpuinfo", "processor\t: 0\nmodel name\t: Made-up 9000 @ 2 GHz")
    put(tmp_path / f"proc/{PID}/statm", "900 25 9 6 0 89 0")
    put(tmp_path / f"proc/{PID}/status", "Name:\tx\nVmHWM:\t     300 kB\nVmRSS:\t 100 kB")
    for number, khz in enumerate((2_000_000, 3_000_000)):
        policy = tmp_path / f"sys/devices/system/cpu/cpufreq/policy{number}"
        put(policy / "scaling_cur_freq", khz)
        put(policy / "cpuinfo_max_freq", 3_500_000)
    for number, (chip, label) in enumerate((("coretemp", "Package id 0"), ("nvme", "Composite"))):
        hwmon = tmp_path / f"sys/class/hwmon/hwmon{number}"
        put(hwmon / "name", chip)
        put(hwmon / "temp1_label", "Core 0")
        put(hwmon / "temp1_input", 99_000)
        put(hwmon / "temp2_label", label)
        put(hwmon / "temp2_input", 61_500)
    return tmp_path


def test_a_host_that_tells_all(host):
    telemetry = open_cpu(PID, host)
    assert telemetry.probe().available
    assert telemetry.devices() == ["cpu"]
    sample = telemetry.read("cpu")
    assert sample.energy_j == pytest.approx(1000e-6)
    assert sample.memory_used_bytes == 600 * 1024
    assert sample.memory_process_bytes == 25 * os.sysconf("SC_PAGE_SIZE")
    assert sample.clock_mhz == pytest.approx(2500)
    assert sample.temperature_c == pytest.approx(61.5)
    identity = telemetry.identity("cpu")
    assert identity.name == "Made-up 9000 @ 2 GHz"
    assert identity.memory_bytes == 1000 * 1024
    assert identity.power_cap_w == pytest.approx(492)
    assert identity.clocks_mhz == {"compute": 3500}
    capabilities = telemetry.capabilities("cpu")
    assert capabilities.energy_scope == "socket"
    assert "energy_j" not in capabilities.missing
    telemetry.close()


def test_energy_is_the_sum_of_packages_and_survives_a_wrap(host):
    telemetry = open_cpu(PID, host)
    start = telemetry.read("cpu").energy_j
    package(host, 0, 50)  # 100 uJ to the wrap, then 50
    package(host, 1, 400)
    assert telemetry.read("cpu").energy_j - start == pytest.approx(450e-6)


def test_a_virtual_machine_has_a_reason_for_each_figure(tmp_path):
    telemetry = open_cpu(PID, tmp_path)
    assert telemetry.probe().available, "the CPU is here, whatever it does not tell"
    sample = telemetry.read("cpu")
    for figure in FIGURES:
        assert getattr(sample, figure) is None
        assert sample.missing[figure], figure
    assert "usual on virtual machines" in sample.missing["energy_j"]
    assert "virtual machines" in sample.missing["clock_mhz"]
    assert "modprobe" in sample.missing["temperature_c"]
    assert f"{PID} is gone" in sample.missing["memory_process_bytes"]
    capabilities = telemetry.capabilities("cpu")
    assert capabilities.energy_scope is None
    assert capabilities.missing.keys() >= set(FIGURES)
    identity = telemetry.identity("cpu")
    assert identity.name
    assert identity.power_cap_w is None


def test_energy_that_only_root_may_read(host, monkeypatch):
    read = Path.read_text

    def guarded(self, *args, **kwargs):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", guarded)
    telemetry = open_cpu(PID, host)
    assert "root only" in telemetry.read("cpu").missing["energy_j"]
    assert telemetry.identity("cpu").power_cap_w == pytest.approx(492), "limits need no root"


@pytest.mark.parametrize("text", ["", "garbage"])
def test_a_counter_that_stops_to_answer(host, text):
    telemetry = open_cpu(PID, host)
    put(host / "sys/class/powercap/intel-rapl:1/energy_uj", text)
    sample = telemetry.read("cpu")
    assert sample.energy_j is None
    assert "cannot be read" in sample.missing["energy_j"]
    assert sample.clock_mhz is not None, "the rest goes on"
    assert "cannot be read" in open_cpu(PID, host).read("cpu").missing["energy_j"]


def test_no_cap_where_one_package_has_none(host):
    (host / "sys/class/powercap/intel-rapl:1/constraint_0_power_limit_uw").unlink()
    put(host / "sys/class/powercap/intel-rapl:1/constraint_1_power_limit_uw", "")
    assert open_cpu(PID, host).identity("cpu").power_cap_w is None


@pytest.mark.parametrize(
    ("chip", "labels", "expected_c"),
    [
        ("k10temp", ("Tctl", "Tdie", "Tccd1"), 2.0),
        ("k10temp", ("Tccd1", "Tctl"), 2.0),
        ("zenpower", (), 1.0),
    ],
)
def test_the_package_sensor_of_each_driver(tmp_path, chip, labels, expected_c):
    hwmon = tmp_path / "sys/class/hwmon/hwmon0"
    put(hwmon / "name", chip)
    put(hwmon / "temp1_input", 1000)
    for number, label in enumerate(labels, 1):
        put(hwmon / f"temp{number}_label", label)
        put(hwmon / f"temp{number}_input", number * 1000)
    assert open_cpu(PID, tmp_path).read("cpu").temperature_c == expected_c


def test_an_unknown_device_is_a_key_error(host):
    telemetry = open_cpu(PID, host)
    for question in (telemetry.identity, telemetry.read, telemetry.capabilities):
        with pytest.raises(KeyError):
            question("cuda")


def test_peak_rss(host):
    assert peak_rss_bytes(PID, host / "proc") == 300 * 1024
    assert peak_rss_bytes(PID + 1, host / "proc") is None
    assert reset_peak_rss(PID, host / "proc")
    assert (host / f"proc/{PID}/clear_refs").read_text() == "5"
    assert not reset_peak_rss(PID + 1, host / "proc")


def test_this_process_on_this_host():
    telemetry = open_cpu(os.getpid())
    sample = telemetry.read("cpu")
    assert sample.memory_process_bytes is not None
    peak = peak_rss_bytes(os.getpid())
    assert peak is not None
    # statm and status lag behind by some pages for each thread.
    assert sample.memory_process_bytes < peak + 2**24
    assert sample.memory_used_bytes is not None
    assert telemetry.identity("cpu").memory_bytes > sample.memory_used_bytes
