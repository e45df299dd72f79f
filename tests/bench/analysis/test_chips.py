"""The table of peaks: sources, plausible and consistent figures, names of devices, its document."""

import datetime
import re
from pathlib import Path

import pytest

from alignmeter.analysis.chips import chip_of, peak, peaks, peaks_markdown
from alignmeter.errors import InputError
from alignmeter.telemetry.amd.identity import FORM_FACTORS
from alignmeter.telemetry.nvidia.codes import form_factor

ROOT = Path(__file__).parents[3]
GIB = 2**30
NVIDIA = [
    *("A100-SXM-80GB", "A100-SXM-40GB", "A100-PCIe-80GB", "H100-SXM", "H100-PCIe", "H100-NVL"),
    *("H200-SXM", "H200-NVL", "B200", "B300", "GB200", "RTX-4090", "RTX-5090", "L40S"),
]
AMD = ["MI210", "MI250X", "MI300X", "MI300A", "MI325X", "MI350X", "MI355X"]
INTEL = ["Gaudi-3", "Max-1550", "Max-1550-stack"]
NO_FP8 = {*NVIDIA[:3], "MI210", "MI250X", "Max-1550", "Max-1550-stack"}
ROWS = sorted(peaks().items())
MAX = "Intel(R) Data Center GPU Max 1550"

every_row = pytest.mark.parametrize(("chip", "row"), ROWS, ids=[chip for chip, _ in ROWS])


def test_the_chips_are_these():
    assert list(peaks()) == NVIDIA + AMD + INTEL
    for vendor, chips in (("NVIDIA", NVIDIA), ("AMD", AMD), ("Intel", INTEL)):
        assert {peak(chip).vendor for chip in chips} == {vendor}


def test_an_unknown_chip_lists_the_known():
    with pytest.raises(
        InputError, match=r"'H800' is not a known chip; nearest of 24 known: H200-SXM, .*H100-SXM"
    ):
        peak("H800")


@every_row
def test_every_row_says_where_and_when(chip, row):
    assert re.fullmatch(r"https://\S+\.\S+", row.source)
    assert row.note.endswith(".")
    assert row.read >= datetime.date(2026, 11, 25)
    if row.document_date is not None:
        assert row.document_date <= row.read
    for text in (row.source, row.via or "", *row.second):
        assert not text.endswith(".")


@every_row
def test_figures_are_plausible(chip, row):
    """Balance and FLOP per joule differ by less than tenfold here: a wrong prefix leaves that."""
    assert 20 * GIB <= row.memory_bytes <= 300 * GIB
    assert row.memory_bytes % 2**20 == 0
    assert 0.8e12 <= row.bandwidth_bytes_per_s <= 8.1e12
    assert 250 <= row.tdp_w <= 1400
    assert 100 <= row.bf16_flops_per_s / row.bandwidth_bytes_per_s <= 520
    assert 0.3e12 <= row.bf16_flops_per_s / row.tdp_w <= 2.6e12


@every_row
def test_fp8_is_twice_bf16(chip, row):
    """L40S is printed as 362.05 and 733; Gaudi 3's matrix engine has one rate for both."""
    assert (row.fp8_flops_per_s is None) == (chip in NO_FP8)
    if row.fp8_flops_per_s is not None:
        times = {"Gaudi-3": 1.0}.get(chip, 2.0)
        assert row.fp8_flops_per_s / row.bf16_flops_per_s == pytest.approx(times, rel=0.015)


@pytest.mark.parametrize(
    ("figures", "package"),
    [
        (peak("MI250X"), {"bf16": 383.0e12, "bandwidth": 3.2768e12, "tdp": 560}),
        (peak("Max-1550-stack"), {"bf16": 838.9e12, "bandwidth": 3.2768e12, "tdp": 600}),
    ],
    ids=["MI250X", "Max-1550"],
)
def test_a_die_is_half_of_its_package(figures, package):
    assert figures.unit == "die"
    assert figures.bf16_flops_per_s == pytest.approx(package["bf16"] / 2, rel=2e-4)
    assert figures.bandwidth_bytes_per_s == package["bandwidth"] / 2
    assert figures.tdp_w == package["tdp"] / 2


def test_a_stack_is_half_of_the_package_row():
    stack, package = peak("Max-1550-stack"), peak("Max-1550")
    assert 2 * stack.memory_bytes == package.memory_bytes
    assert 2 * stack.bandwidth_bytes_per_s == package.bandwidth_bytes_per_s
    assert 2 * stack.bf16_flops_per_s == pytest.approx(package.bf16_flops_per_s, rel=2e-4)
    assert 2 * stack.tdp_w == package.tdp_w


@pytest.mark.parametrize(
    ("chip", "units", "flops", "hz"),
    [
        ("MI210", 104, 1024, 1.7e9),
        ("MI250X", 110, 1024, 1.7e9),
        ("MI300X", 304, 2048, 2.1e9),
        ("MI300A", 228, 2048, 2.1e9),
        ("MI325X", 304, 2048, 2.1e9),
        ("MI350X", 256, 4096, 2.2e9),
        ("MI355X", 256, 4096, 2.4e9),
        ("Max-1550", 128, 4096, 1.6e9),
        ("RTX-4090", 128, 512, 2.52e9),
        ("RTX-5090", 170, 512, 2.407e9),
        ("A100-SXM-80GB", 108, 2048, 1.41e9),
        ("H100-SXM", 132, 4096, 1.83e9),
    ],
)
def test_bf16_is_units_times_flops_a_clock_times_the_boost_clock(chip, units, flops, hz):
    """An independent count: a figure with sparsity, or of another accumulation, is off by two."""
    assert peak(chip).bf16_flops_per_s == pytest.approx(units * flops * hz, rel=0.01)


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-SXM-80GB"),
        ("A100-SXM4-80GB", "A100-SXM-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-SXM-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200-SXM"),
        ("NVIDIA H200 NVL", "H200-NVL"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 5090", "RTX-5090"),
        ("NVIDIA L40S", "L40S"),
        ("AMD Instinct MI210", "MI210"),
        ("AMD Instinct MI250X", "MI250X"),
        ("AMD Instinct MI250X / MI250", "MI250X"),
        ("AMD Instinct MI250X/MI250", "MI250X"),
        ("AMD Instinct MI300X", "MI300X"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("AMD Instinct MI300X VF", "MI300X"),
        ("AMD Instinct MI300A", "MI300A"),
        ("AMD Instinct MI325X", "MI325X"),
        ("AMD Instinct MI350X", "MI350X"),
        ("AMD Instinct MI355X", "MI355X"),
        ("HL-325L", "Gaudi-3"),
        ("GAUDI3", "Gaudi-3"),
    ],
)
def test_a_name_alone_tells_the_chip(name, chip):
    row = peak(chip)
    assert chip_of(name) == chip
    assert chip_of(name, row.form_factor, row.tdp_w, row.memory_bytes) == chip


@every_row
def test_form_factors_are_the_adapters_words(chip, row):
    if row.vendor == "NVIDIA":
        name = row.names[0].removeprefix("(NVIDIA )?")
        assert form_factor(name, row.tdp_w) in {None, row.form_factor}
    elif row.vendor == "AMD":
        assert FORM_FACTORS[chip.replace("MI250X", "MI250")] == row.form_factor


@pytest.mark.parametrize(
    "name",
    [
        "",
        "AMD EPYC 9654 96-Core Processor",
        "AMD Instinct MI100",
        "AMD Instinct MI250",
        "AMD Instinct MI308X",
        "Intel(R) Data Center GPU Max 1100",
        "NVIDIA A100-PCIE-40GB",
        "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
        "NVIDIA A100-SXM4-80GB\n",
        "NVIDIA GH200 480GB",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA H100",
        "NVIDIA H20",
        "NVIDIA H800",
        "NVIDIA L40",
        "nvidia h100 pcie",
        "the NVIDIA H100 PCIe",
    ],
)
def test_unknown_hardware_has_no_peak(name):
    assert chip_of(name) is None


@pytest.mark.parametrize(
    ("said", "chip"),
    [
        # A stack and a package have one name: their memory tells, and nothing else does.
        ({"device_name": MAX, "memory_bytes": 128 * GIB}, "Max-1550"),
        ({"device_name": MAX, "memory_bytes": 64 * GIB, "power_cap_w": 600}, "Max-1550-stack"),
        ({"device_name": MAX}, None),
        ({"device_name": MAX, "memory_bytes": 96 * GIB}, None),
        # An engineering sample, or a virtual slice.
        ({"device_name": "NVIDIA H100 80GB HBM3", "memory_bytes": 64 * GIB}, None),
        ({"device_name": "NVIDIA H100 80GB HBM3", "form_factor": "PCIe"}, None),
        ({"device_name": "NVIDIA H200", "form_factor": "SXM", "power_cap_w": 700}, "H200-SXM"),
        # A cap can be lowered at will; boards of 500 W and cooler ones of 400 W are one chip.
        ({"device_name": "NVIDIA A100-SXM4-80GB", "power_cap_w": 100}, "A100-SXM-80GB"),
        ({"device_name": "NVIDIA A100-SXM4-80GB", "power_cap_w": 500}, "A100-SXM-80GB"),
        ({"device_name": "NVIDIA H100 PCIe", "power_cap_w": 700}, None),
        # AMD SMI gives the first die of a module the cap of both.
        ({"device_name": "AMD Instinct MI250X / MI250", "power_cap_w": 560}, "MI250X"),
        ({"device_name": "AMD Instinct MI250X / MI250", "partition": "NPS1"}, "MI250X"),
        ({"device_name": "AMD Instinct MI300X", "partition": "SPX/NPS1"}, "MI300X"),
        ({"device_name": "AMD Instinct MI300X", "partition": "CPX/NPS1"}, None),
        ({"device_name": "AMD Instinct MI300X", "partition": "DPX/NPS1"}, None),
        ({"device_name": "NVIDIA H100 80GB HBM3", "partition": "1g.10gb"}, None),
    ],
)
def test_what_contradicts_the_name(said, chip):
    assert chip_of(**said) == chip


def test_the_document_is_what_the_command_prints():
    assert (ROOT / "docs" / "peaks.md").read_text(encoding="utf-8") == peaks_markdown()
