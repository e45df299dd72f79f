"""The visible-devices variables, and which telemetry device a torch device is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.accelerators import open_accelerator
from alignmeter.telemetry.amd.visibility import visible_amd
from alignmeter.telemetry.base import Identity, NoTelemetry
from alignmeter.telemetry.intel.visibility import visible_intel
from alignmeter.telemetry.matching import find_device
from alignmeter.telemetry.nvidia.visibility import visible_nvidia

PCI = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
H100 = "NVIDIA H100 80GB HBM3"


def gpu(key, uuid, bus, name=H100):
    return key, Identity(name=name, uuid=uuid, pci_bus_id=bus)


# NVML's order, and HIP's, with keys of no meaning so that nothing is right by accident.
FOUR = [
    gpu("w", "GPU-aaaa1111-0000", "0000:1b:00.0"),
    gpu("x", "GPU-aaaa2222-0000", "0000:43:00.0"),
    gpu("y", "GPU-bbbb0000-0000", "0000:52:00.0"),
    gpu("z", "GPU-cccc0000-0000", "0000:9d:00.0"),
]
FOUR = [(key, replace(who, runtime_index=index)) for index, (key, who) in enumerate(FOUR)]
UNLIKE = [*FOUR[:3], gpu("z", "GPU-cccc0000-0000", "0000:05:00.0", "NVIDIA L40S")]
SLICES = [
    ("w", replace(FOUR[0][1], divided=True)),
    gpu("m", "MIG-1111aaaa", "0000:1b:00.0", f"{H100} MIG 1g.10gb"),
    gpu("n", "MIG-2222aaaa", "0000:1b:00.0", f"{H100} MIG 1g.10gb"),
]
NVIDIA = [
    (None, "wxyz"),
    ("", ""),
    ("2,1", "yx"),
    (" 2 , +1", "yx"),
    ("0,2,-1,1", "wy"),
    ("0,7,1", "w"),
    ("-1", ""),
    ("NoDevFiles", ""),
    ("1gpu,2", "xy"),
    ("0,GPU-bbbb", "w"),
    ("1,1", ""),
    ("0,1,0", ""),
    ("GPU-bbbb0000-0000,GPU-aaaa1", "yw"),
    ("GPU-bbbb,0", "y"),
    ("GPU-aaaa", ""),
    ("GPU-bbbb,GPU-aaaa,GPU-cccc", "y"),
    ("GPU-ffff,GPU-bbbb", ""),
    ("GPU-bbbb,GPU-bbbb", ""),
    ("GPU-bbbb,GPU-bbbb0000", ""),
    ("GPU-bbbb,GPU-ffff,GPU-cccc,GPU-cccc", ""),
]


@pytest.mark.parametrize(("asked", "expected"), NVIDIA)
def test_nvidia(asked, expected):
    environment = {} if asked is None else {"CUDA_VISIBLE_DEVICES": asked}
    found = visible_nvidia(environment, FOUR)
    assert (found.devices, found.reason) == (tuple(expected), None)


@pytest.mark.skipif(torch.version.hip is not None, reason="torch for ROCm reads other variables")
@pytest.mark.parametrize(("asked", "expected"), NVIDIA)
def test_torch_reads_the_same(monkeypatch, asked, expected):
    """torch's own parser, to the letter: if it changes, so must ours."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    parsed = torch.cuda._parse_visible_devices()
    if parsed and isinstance(parsed[0], str):
        parsed = torch.cuda._transform_uuid_to_ordinals(parsed, [i.uuid for _, i in FOUR])
    in_range = parsed[: next((at for at, i in enumerate(parsed) if i >= 4), len(parsed))]
    assert [FOUR[index][0] for index in in_range] == list(expected)


def test_pci_order_is_by_bus_and_not_by_nvml():
    assert visible_nvidia(PCI, UNLIKE).devices == ("z", "w", "x", "y")
    assert visible_nvidia({**PCI, "CUDA_VISIBLE_DEVICES": "0"}, UNLIKE).devices == ("z",)


@pytest.mark.parametrize("asked", [{}, {"CUDA_VISIBLE_DEVICES": "0,1"}])
def test_the_order_of_unlike_gpus_cannot_be_known(asked):
    found = visible_nvidia(asked, UNLIKE)
    assert found.devices is None
    assert "unlike" in found.reason
    assert "PCI_BUS_ID" in found.remedy


@pytest.mark.parametrize(("asked", "expected"), [("GPU-cccc", "z"), ("", ""), ("-1", "")])
def test_unlike_gpus_by_uuid_or_none_at_all(asked, expected):
    assert visible_nvidia({"CUDA_VISIBLE_DEVICES": asked}, UNLIKE).devices == tuple(expected)


def test_like_gpus_without_a_bus_id_cannot_be_ordered():
    nameless = [gpu("a", "GPU-1", None), gpu("b", "GPU-2", None)]
    assert "none" in visible_nvidia({}, nameless).reason
    assert visible_nvidia({}, nameless[:1]).devices == ("a",)


def test_mig():
    def asked(text):
        return visible_nvidia({"CUDA_VISIBLE_DEVICES": text}, SLICES)

    assert asked("MIG-2222aaaa").devices == ("n",)
    assert asked("MIG-2222,GPU-aaaa1111").devices == ("n",)
    assert asked("MIG-3333").devices == ()
    assert "version of CUDA" in asked("MIG-2222aaaa,MIG-1111aaaa").reason
    for unclear in (asked("0"), visible_nvidia({}, SLICES), asked("GPU-aaaa1111")):
        assert unclear.devices is None
        assert "MIG-" in unclear.remedy


def test_a_gpu_in_mig_mode_without_slices_is_none():
    assert visible_nvidia({}, [SLICES[0], *FOUR[1:3]]).devices == ("x", "y")
    assert visible_nvidia({"CUDA_VISIBLE_DEVICES": "0"}, [SLICES[0], *FOUR[1:3]]).devices == ("x",)
    assert visible_nvidia({}, SLICES[:1]).devices == ()


AMD = [
    ({}, "wxyz"),
    ({"ROCR_VISIBLE_DEVICES": "3,1"}, "zx"),
    ({"HIP_VISIBLE_DEVICES": "3,1"}, "zx"),
    ({"CUDA_VISIBLE_DEVICES": "3,1"}, "zx"),
    ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "3,1"}, "w"),
    ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "1"}, "x"),
    ({"ROCR_VISIBLE_DEVICES": "3,1", "CUDA_VISIBLE_DEVICES": "1,0"}, "xz"),
    ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "2"}, ""),
    ({"ROCR_VISIBLE_DEVICES": "0, GPU-bbbb0000-0000"}, "wy"),
    ({"ROCR_VISIBLE_DEVICES": "GPU-bbbb,GPU-aaaa,1"}, "y"),
    ({"ROCR_VISIBLE_DEVICES": "2,9,1"}, "y"),
    ({"ROCR_VISIBLE_DEVICES": "2,2,1"}, "y"),
    ({"ROCR_VISIBLE_DEVICES": "2,x,1"}, "y"),
    ({"ROCR_VISIBLE_DEVICES": ""}, ""),
    ({"HIP_VISIBLE_DEVICES": "GPU-cccc,GPU-bbbb"}, "zy"),
    ({"HIP_VISIBLE_DEVICES": ""}, ""),
    ({"GPU_DEVICE_ORDINAL": "1"}, "wxyz"),
]


@pytest.mark.parametrize(("environment", "expected"), AMD)
def test_amd(environment, expected):
    found = visible_amd(environment, FOUR)
    assert (found.devices, found.reason) == (tuple(expected), None)


def test_amd_numbers_as_hip_does_and_not_as_amd_smi():
    other = [(key, replace(who, runtime_index=3 - who.runtime_index)) for key, who in FOUR]
    assert visible_amd({"HIP_VISIBLE_DEVICES": "0,3"}, other).devices == ("z", "w")
    unknown = [(key, replace(who, runtime_index=None)) for key, who in FOUR]
    assert "HIP's order" in visible_amd({}, unknown).reason
    assert visible_amd({}, unknown[:1]).devices == ("w",)


def test_nothing_hides_a_cpu():
    alone = [("cpu", Identity(name="x"))]
    assert open_accelerator("cpu").visible({"CUDA_VISIBLE_DEVICES": ""}, alone).devices == ("cpu",)


def test_amd_with_more_for_hip_than_rocr_leaves():
    found = visible_amd({"ROCR_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "0,1"}, FOUR)
    assert found.devices is None
    assert "torch refuses" in found.reason


@pytest.mark.parametrize(
    ("environment", "expected", "reason"),
    [
        ({}, "wxyz", None),
        ({"ZE_AFFINITY_MASK": ""}, "wxyz", None),
        ({"ZE_AFFINITY_MASK": "0, 2"}, "wy", None),
        ({"ZE_AFFINITY_MASK": "0.1"}, None, "stacks"),
        ({"ZE_AFFINITY_MASK": "2,0"}, None, "does not order"),
        ({"ZE_AFFINITY_MASK": "4"}, None, "not there"),
        ({"ZE_AFFINITY_MASK": "one"}, None, "not there"),
        ({"ONEAPI_DEVICE_SELECTOR": "level_zero:0"}, None, "SYCL"),
    ],
)
def test_intel(environment, expected, reason):
    found = visible_intel(environment, FOUR)
    if reason is None:
        assert found.devices == tuple(expected)
    else:
        assert found.devices is None
        assert reason in found.reason
        assert found.remedy


ENTRIES = st.sampled_from(
    ["0", "1", "2", "3", "4", "-1", "", " 2", "1.0", "GPU-aaaa1", "GPU-bbbb", "GPU-", "MIG-1", "é"]
)
VARIABLES = ["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"]
TEXTS = st.lists(ENTRIES, min_size=1, max_size=5).map(",".join) | st.text(max_size=6)


@pytest.mark.full
@given(st.dictionaries(st.sampled_from([*VARIABLES, "ZE_AFFINITY_MASK"]), TEXTS))
def test_whatever_is_asked_devices_come_once_and_were_there(environment):
    for visible_of in (visible_nvidia, visible_amd, visible_intel):
        found = visible_of(environment, FOUR)
        assert (found.devices is None) == (found.reason is not None)
        devices = found.devices or ()
        assert len(set(devices)) == len(devices)
        assert set(devices) <= set("wxyz")


@given(st.permutations(range(4)), st.integers(0, 4), st.booleans())
def test_devices_come_in_the_order_asked_for(order, count, by_uuid):
    asked = order[:count]
    text = ",".join(FOUR[index][1].uuid if by_uuid else str(index) for index in asked)
    expected = tuple(FOUR[index][0] for index in asked)
    assert visible_nvidia({"CUDA_VISIBLE_DEVICES": text}, FOUR).devices == expected
    for variable in VARIABLES:
        assert visible_amd({variable: text}, FOUR).devices == expected


class Seen(NoTelemetry):
    """A telemetry that sees these devices."""

    def __init__(self, *devices):
        super().__init__("only a list")
        self._devices = dict(devices)

    def devices(self):
        return list(self._devices)

    def identity(self, device):
        return self._devices[device]


@pytest.mark.parametrize(
    ("uuid", "bus", "expected"),
    [
        ("GPU-bbbb0000-0000", None, "y"),
        ("bbbb0000-0000", "0000:1b:00.0", "y"),
        ("BBBB00000000", None, "y"),
        (None, "0000:43:00.0", "x"),
        (None, "00000000:43:00.0", "x"),
        (None, "43:00.0", "x"),
        ("GPU-unknown", "0000:43:00.0", "x"),
    ],
)
def test_a_device_is_found_by_uuid_and_else_by_bus(uuid, bus, expected):
    assert find_device(Seen(*FOUR), uuid, bus) == expected


@pytest.mark.parametrize("spelling", ["GPU-4f2a88c01d9e77b3", "0x4f2a88c01d9e77b3"])
def test_torch_on_rocm_spells_the_unique_id_as_bytes(spelling):
    """torch prints b"4f2a88c01d9e77b3", 16 bytes, as if they were those of a UUID."""
    digits = b"4f2a88c01d9e77b3".hex()
    parts = [digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    telemetry = Seen(FOUR[0], gpu("amd", spelling, "0000:05:00.0"))
    assert find_device(telemetry, "-".join(parts), None) == "amd"


def test_torch_on_xpu_has_the_bus_in_its_uuid():
    telemetry = Seen(FOUR[0], gpu("intel", None, "0000:23:00.0"))
    assert find_device(telemetry, "868023e2-0000-0000-2300-000000000000", None) == "intel"


def test_a_slice_is_found_by_its_uuid_alone():
    assert find_device(Seen(*SLICES), "MIG-2222aaaa", "0000:1b:00.0") == "n"
    with pytest.raises(LookupError, match="2 devices have"):
        find_device(Seen(*SLICES), None, "0000:1b:00.0")


@pytest.mark.parametrize("bus", ["0000:1b:00.0", None])
def test_a_gpu_in_mig_mode_is_never_what_torch_computes_on(bus):
    """cudaDeviceProp has one UUID for a GPU and its instances, or one of each, by CUDA's version:
    the GPU's energy and memory are not the instance's."""
    assert find_device(Seen(*SLICES[:2]), "aaaa1111-0000", bus) == "m"
    with pytest.raises(LookupError, match="2 devices have"):
        find_device(Seen(*SLICES), "aaaa1111-0000", bus)
    with pytest.raises(LookupError, match="no device has"):
        find_device(Seen(*SLICES[:1]), "aaaa1111-0000", bus)


def test_the_cpu_has_neither_and_is_alone():
    assert find_device(Seen(("cpu", Identity(name="x"))), None, None) == "cpu"


@pytest.mark.parametrize(("uuid", "bus"), [("GPU-ffff", None), (None, None), (None, "garbage")])
def test_what_is_not_there_says_what_is(uuid, bus):
    with pytest.raises(LookupError) as error:
        find_device(Seen(*FOUR), uuid, bus)
    text = str(error.value)
    assert f"no device has UUID {uuid} or PCI bus id {bus}" in text
    assert "y (UUID GPU-bbbb0000-0000, PCI bus id 0000:52:00.0)" in text


def test_nothing_is_found_where_nothing_is():
    with pytest.raises(LookupError, match="there are: none"):
        find_device(NoTelemetry("no library"), "GPU-1", None)
