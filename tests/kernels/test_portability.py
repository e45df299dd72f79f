"""Compiling for chips that are not here: occupancy by hand, faults that show, the whole proof."""

import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from alignmeter.cli.compiling import Job, compile_jobs
from alignmeter.records.portability import decode_portability, failure
from alignmeter_kernels import KERNELS, compilable
from alignmeter_kernels.chips import CHIPS, register_warps

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="pip install triton")
DATA_CENTRE = {"sm_80", "sm_90", "sm_100", "gfx90a", "gfx942", "gfx950"}
MATRIX = {"sm": ("mma.sync", "wgmma.", "tcgen05.mma"), "gfx9": ("v_mfma_",), "gfx11": ("v_wmma_",)}


def test_a_kernel_has_triton_functions_where_its_folder_says_so():
    kernels = {name: getattr(import_module(row), "KERNEL", None) for name, row in KERNELS.items()}
    launching = {name for name, kernel in kernels.items() if kernel and kernel.on_chip}
    assert launching == set(compilable()) != set(KERNELS)


@pytest.mark.parametrize(
    ("chip", "warps", "registers", "kib", "resident"),
    [
        # 255 x 32 = 8160, in steps of 256 8192: 2 warps in each of 4 partitions of 16384.
        ("sm_90", 8, 255, 96, 8),
        # 168 x 32 = 5376: 3 x 4 = 12 warps. Shared memory: 164 KiB hold 3 times 48 + 1.
        ("sm_80", 4, 168, 48, 12),
        # 96 x 32 = 3072: 5 x 4 = 20 warps, although 65536 registers in one piece would hold 21.
        ("sm_90", 1, 96, 0, 20),
        # 97 x 32 = 3104, in steps of 256 3328: 4 x 4.
        ("sm_90", 1, 97, 0, 16),
        # Few registers: 64 warps of an A100's multiprocessor, but 32 programs at most.
        ("sm_80", 4, 16, 0, 64),
        ("sm_80", 1, 16, 0, 32),
        # 48 warps and 24 programs on an RTX 5090.
        ("sm_120", 4, 16, 0, 48),
        ("sm_120", 1, 16, 0, 24),
        # Shared memory binds: 228 / (100 + 1) and 228 / (113 + 1) are 2 programs, 228 / 115 is 1.
        ("sm_90", 4, 32, 100, 8),
        ("sm_90", 4, 32, 113, 8),
        ("sm_90", 4, 32, 114, 4),
        # A program gets all but one KiB.
        ("sm_120", 4, 32, 99, 4),
        ("sm_120", 4, 32, 99.1, 0),
        # 32 warps of 168 registers are more than the 12 that fit.
        ("sm_90", 32, 168, 0, 0),
    ],
)  # fmt: skip
def test_resident_warps_of_nvidia_by_hand(chip, warps, registers, kib, resident):
    found = CHIPS[chip].resident(
        warps=warps, shared_bytes=int(kib * 1024), register_warps=register_warps(registers)
    )
    assert found == resident


@pytest.mark.parametrize(
    ("chip", "warps", "per_simd", "lds_bytes", "resident"),
    [
        # 5 waves on each of 4 SIMDs are 20: two programs of 8.
        ("gfx942", 8, 5, 16384, 16),
        # The registers allow 8 waves a SIMD, 64 KiB of LDS hold one program of 40 KiB.
        ("gfx942", 4, 8, 40960, 4),
        ("gfx942", 4, 8, 65536, 4),
        ("gfx942", 4, 8, 65537, 0),
        # gfx950: 33248 bytes are 26 steps of 1280, 33280; 160 KiB hold 4, the registers 3.
        ("gfx950", 8, 6, 33248, 24),
        ("gfx950", 8, 8, 33248, 32),
        # 16384 bytes are 13 steps, 16640: 163840 / 16640 = 9, not 10.
        ("gfx950", 1, 8, 16384, 9),
        # gfx1100: 128 KiB for both compute units of a pair, 64 for a program.
        ("gfx1100", 4, 9, 8192, 36),
        ("gfx1100", 4, 9, 65536, 8),
        ("gfx1100", 4, 9, 65537, 0),
    ],
)
def test_resident_waves_of_amd_by_hand(chip, warps, per_simd, lds_bytes, resident):
    """``per_simd``: what AMD's compiler states, which knows the registers only."""
    found = CHIPS[chip].resident(warps=warps, shared_bytes=lds_bytes, register_warps=4 * per_simd)
    assert found == resident


def test_tensor_memory_limits_programs():
    """512 columns: two programs of 256, though registers and shared memory hold 16 of 4 warps."""
    b200 = CHIPS["sm_100"]
    assert b200.resident(warps=4, shared_bytes=0, register_warps=64) == 64
    assert b200.resident(warps=4, shared_bytes=0, register_warps=64, tensor_columns=256) == 8


def test_the_chips_are_those_of_the_contract():
    assert set(CHIPS) == DATA_CENTRE | {"sm_120", "gfx1100"}
    assert {name for name, chip in CHIPS.items() if chip.data_centre} == DATA_CENTRE
    assert {CHIPS[name].arch for name in ("sm_90", "gfx942")} == {90, "gfx942"}


FAULTY = """
import torch
import triton
import triton.language as tl

from alignmeter_kernels.inputs import Case, TensorSpec
from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.launch import Tile, launch


@triton.jit
def wrong(x, BLOCK: tl.constexpr):
    tl.store(x + tl.arange(0, BLOCK), tl.zeros((2 * BLOCK,), tl.float32))


@triton.jit
def product(x, BT: tl.constexpr, BK: tl.constexpr):
    t, k = tl.arange(0, BT), tl.arange(0, BK)
    a = tl.load(x + t[:, None] * BK + k[None, :])
    b = tl.load(x + k[:, None] * BT + t[None, :])
    tl.store(x + t[:, None] * BT + t[None, :], tl.dot(a, b).to(x.dtype.element_ty))


@triton.jit
def idle(x, n, scale, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) * scale, mask=i < n)


def on_chip(inputs, options):
    x = inputs["x"]
    launch(wrong, (1,), x, tile=Tile(blocks={"BLOCK": 64}))
    launch(product, (1,), x, tile=Tile(blocks={"BT": 256, "BK": 16}, warps=4))
    launch(product, (1,), x, tile=Tile(blocks={"BT": 64, "BK": 1024}, warps=4))
    for n in (1, 17, 16, 17):
        launch(idle, (1,), x, n, 2.0, tile=Tile(blocks={"BLOCK": 64}))


CASE = Case(name="case", tensors={"x": TensorSpec(shape=(4096,))}, chips=True)
KERNEL = Kernel(
    name="faulty", operator=min, reference=min, check=CASE, cases=(CASE,), on_chip=on_chip,
    matmul=frozenset({"product", "idle"}),
)
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Rows of a kernel that does everything wrong, by chip."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "faulty.py").write_text(FAULTY)
    jobs = [
        Job(kernel="faulty", package="faulty", chip=chip, dtype="bfloat16")
        for chip in ("sm_80", "gfx90a")
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("TRITON_CACHE_DIR", str(folder / "cache"))
        rows = compile_jobs(jobs, lambda: None)
    return {chip: [row for row in rows if row.chip == chip] for chip in ("sm_80", "gfx90a")}


@pytest.mark.full
@needs_triton
@pytest.mark.parametrize("chip", ["sm_80", "gfx90a"])
def test_every_fault_shows(faulty, chip):
    wrong, greedy, wide, *idle = faulty[chip]
    assert "does not compile" in failure(wrong)
    assert "CompilationError" in wrong.error
    # An accumulator of 256 x 256 in fp32 over 4 warps: 512 registers a thread on NVIDIA, which has
    # 255. AMD's 64-wide waves need 256, and have 256 VGPRs and as many AGPRs for everything.
    assert greedy.registers in ((255,) if chip == "sm_80" else range(257, 513))
    assert greedy.spills > 0
    assert f"spills {greedy.spills} " in failure(greedy)
    # Two operands of 64 x 1024 in bf16 are 256 KiB.
    assert wide.shared_bytes > CHIPS[chip].program_bytes
    assert wide.occupancy == 0
    assert "not one program fits" in failure(wide)
    assert "does not use the matrix unit" in failure(idle[0])


@pytest.mark.full
@needs_triton
def test_what_triton_would_compile_apart_is_compiled_apart(faulty):
    """n = 1 is a constant, 16 a multiple of 16, 17 neither; 17 comes twice and is one variant."""
    assert [row.function for row in faulty["sm_80"]].count("idle") == 3


def named(row, what):
    return f"{row.kernel}: {row.function} {row.dtype} {row.chip}: {what}"


@needs_triton
@pytest.mark.exhaustive
def test_every_kernel_on_every_chip(tmp_path):
    """The proof of the portability table, with nothing taken from a cache."""
    done = subprocess.run(
        [Path(sys.executable).parent / "alignmeter", "kernels", "--json"],
        capture_output=True, text=True, check=False, timeout=3000, cwd=tmp_path,
        env={**os.environ, "TRITON_CACHE_DIR": str(tmp_path / "cache")},
    )  # fmt: skip
    rows = decode_portability(done.stdout.encode(), done.stderr).rows
    kernels = {name: getattr(import_module(row), "KERNEL", None) for name, row in KERNELS.items()}
    on_chip = {name for name, kernel in kernels.items() if kernel and kernel.on_chip}
    assert {(row.kernel, row.chip, row.dtype) for row in rows} == {
        (name, chip, dtype)
        for name in on_chip
        for chip in CHIPS
        for dtype in ("bfloat16", "float32")
    }
    assert [named(row, row.error) for row in rows if row.error is not None] == []
    held = [row for row in rows if row.chip in DATA_CENTRE]
    assert [named(row, row.spills) for row in held if row.spills != 0] == []
    products = [
        row
        for row in rows
        if row.function in kernels[row.kernel].matmul and row.dtype == "bfloat16"
    ]
    assert {(row.kernel, row.function) for row in products} == {
        (name, function) for name in on_chip for function in kernels[name].matmul
    }
    for row in products:
        (unit,) = [names for family, names in MATRIX.items() if row.chip.startswith(family)]
        assert str(row.matrix).startswith(unit), named(row, row.matrix)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
