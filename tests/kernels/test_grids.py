"""Every chip has something to do: programs counted at published sizes, and how they are chosen."""

import contextlib
from pathlib import Path

import grids
import pytest
import torch

from alignmeter_kernels import launch
from alignmeter_kernels.chips import CHIPS, units_of
from alignmeter_kernels.launch import Tile, filling, recording
from alignmeter_kernels.linear_logprob import gpu as logprob_gpu
from alignmeter_kernels.planning import planning
from alignmeter_kernels.selective_scan import gpu as scan_gpu
from alignmeter_kernels.ssd_scan import inputs as dual_scans

DOCS = Path(__file__).parents[2] / "docs" / "kernels.md"
FEWER = {"rescale"}
"""May have fewer programs than a chip has units; docs/kernels.md says why."""

needs_triton = pytest.mark.skipif(launch.find_spec("triton") is None, reason="pip install triton")


@needs_triton
@pytest.mark.parametrize("chip", grids.ON)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_every_launch_has_a_program_for_every_unit(chip, dtype):
    """132 of sm_90, 304 of gfx942; from one sequence to sixteen, 130m to 2.8b."""
    idle = {
        (size, rows, *key): programs
        for size in grids.SIZES
        for rows in grids.ROWS
        for key, programs in grids.fewest(chip, dtype, size, rows).items()
        if programs < CHIPS[chip].units and key[1] not in FEWER
    }
    assert idle == {}


@needs_triton
def test_the_table_is_of_today_and_says_why_some_have_fewer():
    """If this fails: python tests/trust/grids.py, into docs/kernels.md"""
    text = DOCS.read_text()
    assert grids.table() in text
    for function in FEWER:
        assert f"\n- `{function}`" in text


@pytest.mark.parametrize(
    ("chip", "rows", "width", "channels"),
    [
        # 2 x 132 = 264 programs wanted: 132 a row, 1536 / 132 = 11.6.
        ("sm_90", 2, 1536, 11),
        ("sm_90", 4, 1536, 23),
        # 2 x 304 = 608: 304 a row, 5.05; 608 of one row, 2.5.
        ("gfx942", 2, 1536, 5),
        ("gfx942", 1, 1536, 2),
        # Narrower than the programs wanted: one channel each. Wide enough: the most.
        ("gfx942", 1, 384, 1),
        ("sm_90", 4, 5120, 64),
        ("sm_90", 16, 1536, 64),
    ],
)
def test_channels_of_a_program_by_hand(chip, rows, width, channels):
    with recording(chip):
        assert scan_gpu._channels(rows, width) == channels


@needs_triton
def test_a_plan_and_a_launch_choose_as_what_is_recorded(monkeypatch):
    """All three ask for the chip's name; what its driver says of this very device is not asked."""
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    with recording("gfx942"):
        recorded = scan_gpu._channels(2, 1536)
    with planning(contextlib.nullcontext(), "gfx942"):
        assert scan_gpu._channels(2, 1536) == recorded
    monkeypatch.setattr(knobs.runtime, "interpret", False)
    device = type("Device", (), {"get_current_target": lambda _: GPUTarget("hip", "gfx942", 64)})
    monkeypatch.setattr(driver, "_active", device())
    assert launch.chip() == "gfx942"
    assert scan_gpu._channels(2, 1536) == recorded


@pytest.mark.parametrize(
    ("length", "bytes_per_token", "segment"),
    [
        (2048, 2**15, 2048),  # 64 MiB hold it whole
        (2048, 2**16, 1024),  # 1024 tokens fit: two halves
        (2050, 2**15, 1088),  # 33 chunks in two parts: 17 and 16
        (16384, 132 * 2 * 128, 1856),  # 31 chunks fit, 256 in 9 parts: 29, 8 times, and 24
        (100, 2**30, 64),  # not even a chunk fits: one at a time
        (0, 2**15, 64),
    ],
)
def test_segments_by_hand(length, bytes_per_token, segment):
    assert scan_gpu._segment(length, bytes_per_token) == segment


@pytest.mark.parametrize(
    ("vocabulary", "bytes_per_word", "words"),
    [
        (50280, 4096, 12672),  # 393 blocks of 128, 128 fit: 4 parts of 99 and 96
        (128256, 4096, 16128),  # 1002 blocks: 8 parts of 126 and 120
        (50280, 2**20, 1024),  # 8 blocks are the least
        (100, 4096, 128),
    ],
)
def test_slices_of_the_vocabulary_by_hand(vocabulary, bytes_per_word, words):
    """None is a short rest: at 2048 tokens in bf16 that of 50280 had 9 of 128 blocks."""
    assert logprob_gpu._slice(vocabulary, 128, bytes_per_word) == words


def test_the_first_tile_that_fills_the_chip_is_taken():
    tiles = [Tile(blocks={"B": size}) for size in (64, 32, 16)]

    def programs(tile):
        return 4096 // tile.blocks["B"]

    def taken(chip):
        with recording(chip):
            return filling(tiles, programs).blocks["B"]

    assert [taken(chip) for chip in ("gfx1100", "sm_80", "sm_90")] == [64, 32, 16]
    assert taken("gfx942") == 16  # 256 programs for 304 units: no tile gives more


def test_an_unknown_chip_is_taken_for_the_widest():
    assert units_of("xpu") == units_of("gfx942") == max(chip.units for chip in CHIPS.values())


@needs_triton
@pytest.mark.parametrize("chip", ["gfx90a", "gfx942", "gfx950"])
def test_outputs_of_fp32_go_through_no_blocks_of_a_head(chip):
    """On CDNA: with two blocks of 32 a head, Triton 3.6 spilt 10 to 14 scalar registers."""
    from alignmeter_kernels.ssd_scan import KERNEL

    case = dual_scans.case("2.8b", 1, 128, 80)
    with recording(chip) as launches, torch.no_grad():
        KERNEL.on_chip(case.make("meta", torch.float32), dict(case.options))
    (outputs,) = (one for one in launches if one.name == "chunk_outputs")
    assert (outputs.constants["BP"], outputs.constants["PB"]) == (64, 1)
