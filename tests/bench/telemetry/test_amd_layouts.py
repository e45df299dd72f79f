"""AMD SMI in two layouts: 26 (ROCm 7.0, PyPI's amdsmi 7.0.2), 27 (ROCm 10.0, TheRock's wheels)."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amd_layouts import LIBRARY_27, VERSION_27
from amd_stub import (
    MI210,
    MI300X,
    MI300X_CPX,
    PACKAGE,
    AmdMachine,
    build_amd,
    build_wheel,
    package_version,
    why_not,
)

from alignmeter.telemetry.amd.release import misfit, rocm_version

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PPT, TEMP_MEM = 1 << 0, 1 << 34


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory):
    """A folder of packages with TheRock's wheel."""
    folder = tmp_path_factory.mktemp("site-packages")
    build_wheel(folder)
    return folder


@pytest.fixture
def wheel(rocm, site_packages, tmp_path, scripted):
    """A machine whose interpreter has TheRock's wheel, and a ROCm 7.0 that ROCM_PATH names."""
    with AmdMachine(rocm, tmp_path, scripted) as built:
        scripted.syspath_prepend(site_packages)
        yield built


@pytest.fixture(params=["26.0.2", "27.0.0"])
def either(request):
    """A machine in that layout, and the number of its library."""
    fixture = "machine" if request.param.startswith("26") else "wheel"
    return request.getfixturevalue(fixture), request.param


SIZES = {  # by amdsmi_wrapper.py of 7.0.2, and by hand from the header of 27.0.0
    "amdsmi_enumeration_info_t": {"26.0.2": 272, "27.0.0": 276},
    "amdsmi_asic_info_t": {"26.0.2": 896, "27.0.0": 896},
    "amdsmi_power_info_t": {"26.0.2": 192, "27.0.0": 192},
    "amdsmi_proc_info_t": {"26.0.2": 704, "27.0.0": 704},
    "amdsmi_gpu_metrics_t": {"26.0.2": 4544, "27.0.0": 4736},
}
PLACES = {
    ("amdsmi_power_info_t", "average_socket_power"): {"26.0.2": 12, "27.0.0": 12},
    ("amdsmi_proc_info_t", "memory_usage"): {"26.0.2": 336, "27.0.0": 336},
    ("amdsmi_gpu_metrics_t", "indep_throttle_status"): {"26.0.2": 112, "27.0.0": 120},
    ("amdsmi_gpu_metrics_t", "ppt_residency_acc"): {"26.0.2": 440, "27.0.0": 456},
    ("amdsmi_gpu_metrics_t", "vram_max_bandwidth"): {"26.0.2": 4520, "27.0.0": 4664},
}


def test_the_bindings_are_of_the_layouts_that_they_say(either):
    machine, number = either
    machine.open(MI300X)
    wrapper = sys.modules["amdsmi"].amdsmi_wrapper
    assert {s: ctypes.sizeof(getattr(wrapper, s)) for s in SIZES} == {
        struct: sizes[number] for struct, sizes in SIZES.items()
    }
    for (struct, field), places in PLACES.items():
        assert getattr(getattr(wrapper, struct), field).offset == places[number], field


def test_either_layout_gives_the_trace_s_figures(either):
    """Throttled for half of the time that lies between the readings; 15.259 µJ a count."""
    machine, number = either
    trace = [(0.0, 500.0, 3 * 2**30, 0), (2.0, 650.0, 2**34 + 4096, PPT | TEMP_MEM)]
    crowd = {"pid": 77, "processes": 100, "process_bytes": 2**33 + 8192}
    telemetry = machine.open(MI300X | crowd, MI210 | {"pid": 5}, traces={0: trace}, pid=77)
    assert telemetry.probe().library.startswith(f"AMD SMI {number}")
    device, older = telemetry.devices()
    who = telemetry.identity(device)
    assert (who.name, who.uuid) == ("AMD Instinct MI300X", "GPU-0000000000000001")
    assert (who.partition, who.power_cap_w, who.runtime_index) == ("SPX/NPS1", 750.0, 0)
    assert (who.pci_bus_id, who.driver) == ("0000:0c:00.0", "6.14.14")
    machine.clock.set(1.0)
    telemetry.read(device)
    machine.clock.set(3.0)
    sample = telemetry.read(device)
    assert sample.missing == {}
    assert sample.energy_j == pytest.approx(2 * 500.0 + 650.0, abs=2**-16)
    assert sample.device_s == pytest.approx(3.0)
    assert sample.power_w == 650.0
    assert sample.memory_used_bytes == 2**34 + 4096
    assert sample.memory_process_bytes == 2**33 + 8192
    assert (sample.clock_mhz, sample.temperature_c, sample.ecc_errors) == (2100.0, 61.0, 0)
    assert sample.throttles == ("power_cap", "thermal")
    averaged = telemetry.read(older)
    assert (averaged.power_w, averaged.throttles) == (100.0, ())
    assert set(averaged.missing) == {"memory_process_bytes"}
    assert telemetry.capabilities(older).power_kind == "average"


def test_partitions_are_known_in_either_layout(either):
    machine, _ = either
    telemetry = machine.open(*MI300X_CPX)
    devices = telemetry.devices()
    assert {telemetry.identity(device).partition for device in devices} == {"CPX/NPS4"}
    assert {telemetry.identity(d).energy_group for d in devices} == {"0000:0c:00.0"}
    assert telemetry.capabilities(devices[1]).energy_scope == "socket"


def test_a_library_without_profiles_is_asked_for_the_mode(machine):
    telemetry = machine.open(MI300X | {"profile": "none", "partition": "DPX"})
    assert telemetry.identity(*telemetry.devices()).partition == "DPX/NPS1"


def test_the_mode_s_old_name_is_asked_in_need_only(wheel, scripted):
    """27 warns of it, and a later one will not have it."""
    wheel.open(MI300X)
    scripted.delattr(sys.modules["amdsmi"], "amdsmi_get_gpu_compute_partition")
    telemetry = wheel.open(MI300X)
    assert telemetry.identity(*telemetry.devices()).partition == "SPX/NPS1"


def test_the_wheels_of_therock_come_before_all(wheel, site_packages):
    """Not ROCM_PATH's 7.0, not the interpreter's amdsmi: torch has loaded the wheel's library."""
    found = wheel.open(MI300X).probe()
    assert (found.available, found.library) == (True, "AMD SMI 27.0.0")
    package = site_packages / "_rocm_sdk_core"
    assert sys.modules["amdsmi"].__file__ == str(
        package / "share" / "amd_smi" / "amdsmi" / "__init__.py"
    )
    assert str(package / "lib" / LIBRARY_27) in Path("/proc/self/maps").read_text()


def test_a_binding_of_7_0_is_refused_on_a_library_of_27(machine, site_packages, tmp_path, scripted):
    """ROCm 10.0 by its own packages, and pip's newest amdsmi beside it."""
    tree = tmp_path / "rocm-10.0.0"
    (tree / "lib").mkdir(parents=True)
    library = tree / "lib" / f"{LIBRARY_27}.0.0"
    shutil.copy(site_packages / "_rocm_sdk_core" / "lib" / LIBRARY_27, library)
    (tree / "lib" / "libamd_smi.so").symlink_to(library.name)
    (tree / ".info").mkdir()
    (tree / ".info" / "version").write_text("10.0.0\n")
    scripted.setenv("ROCM_PATH", str(tree))
    found = machine.open(MI300X).probe()
    assert found.available is False
    assert found.reason == (
        f"amdsmi {package_version()} does not fit ROCm 10.0.0 / AMD SMI 27.0.0 "
        f"({library}): it would misread structs"
    )
    assert "remove it where ROCm ships its own binding (share/amd_smi)" in found.remedy
    assert not [name for name in sys.modules if name.startswith("amdsmi")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (LIBRARY_27, None),  # asked, it says 27.0.0
        ("libamd_smi.so.27.0.3", None),
        ("libamd_smi.so.27.1.0", f"amdsmi {VERSION_27} does not fit AMD SMI 27.1.0"),
        ("libamd_smi.so.26.2.1", f"amdsmi {VERSION_27} does not fit AMD SMI 26.2.1"),
    ],
)
def test_a_binding_of_27_wants_the_library_s_own_number(
    name, reason, machine, site_packages, tmp_path, scripted
):
    """Copied to where pip would have put it, as people do; 27.1 lengthened a struct of 27.0."""
    core, other = site_packages / "_rocm_sdk_core", tmp_path / "elsewhere"
    shutil.copytree(core / "share" / "amd_smi" / "amdsmi", other / "amdsmi")
    (other / "lib").mkdir()
    library = shutil.copy(core / "lib" / LIBRARY_27, other / "lib" / name)
    scripted.setenv("AMDSMI_LIB_OVERRIDE", str(library))
    scripted.syspath_prepend(other)
    found = machine.open(MI300X).probe()
    assert found.available is (reason is None)
    assert found.available or found.reason.startswith(f"{reason} ({library})")


def test_a_binding_of_27_without_its_library_says_what_it_looked_for(tmp_path, site_packages):
    """Its import succeeds; PyPI's, which is tried next, finds the ROCm that ROCM_PATH names."""
    shutil.copytree(site_packages / "_rocm_sdk_core", tmp_path / "_rocm_sdk_core")
    shutil.rmtree(tmp_path / "_rocm_sdk_core" / "lib")
    (tmp_path / "kfd").touch()
    code = (
        "import os, sys; from pathlib import Path\n"
        "from alignmeter.telemetry.amd import binding\n"
        f"binding.KFD = binding.OPT = Path({str(tmp_path / 'kfd')!r})\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "found = binding.load_binding()\n"
        "print(found.probe().reason)\n"
        f"os.environ['ROCM_PATH'] = {str(build_amd(tmp_path / 'rocm'))!r}\n"
        "print(binding.load_binding().smi.__file__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    reason, file = done.stdout.splitlines()
    assert "was imported without a libamd_smi.so: amdsmi_get_lib_version: OSError" in reason
    assert f"{LIBRARY_27}: cannot open shared object file" in reason
    assert Path(file).parent == PACKAGE


@pytest.mark.parametrize(
    ("name", "rocm"),
    [
        ("libamd_smi.so.25.5.60401", "6.4.1"),
        ("libamd_smi.so.26.0.70002", "7.0.2"),
        ("libamd_smi.so.27.0.100000", "10.0.0"),
        ("libamd_smi.so.27.0.99999", None),
        ("libamd_smi.so.27.0.0", None),
        (LIBRARY_27, None),
    ],
)
def test_the_rocm_that_a_library_s_name_ends_with(name, rocm, tmp_path):
    assert rocm_version(tmp_path / "lib" / name) == rocm


def test_a_package_of_no_version_is_no_fit(tmp_path):
    assert "amdsmi of unknown version does not fit ROCm 7.0.2" in str(
        misfit(tmp_path, Path("/x/lib/libamd_smi.so.26.0.70002"), None)
    )
