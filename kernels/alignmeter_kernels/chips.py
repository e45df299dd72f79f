"""The chips that kernels are compiled for: their units, and what limits how many warps of one are
resident.
"""

__all__ = ["CHIPS", "Chip", "register_warps", "units_of"]

from dataclasses import dataclass

_PARTITIONS, _PARTITION_REGISTERS, _REGISTER_STEP = 4, 16384, 256
"""Of an NVIDIA multiprocessor: its partitions, the 32-bit registers of each, and the steps in which
a warp gets them."""
_TENSOR_COLUMNS = 512
"""Columns of tensor memory of a multiprocessor from sm_100 on (PTX ISA 9.0, tcgen05.alloc); a
program that asks for what is not free waits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chip:
    """A compile target. ``name`` is the compiler's word for it, ``example`` a product.

    ``units``: how many of them its largest product has as one device. Limits per ``unit``
    (NVIDIA's streaming multiprocessor, AMD's compute unit, RDNA's work-group processor): resident
    ``warps`` and ``programs``, and ``shared_bytes`` of shared memory or LDS, given out in steps of
    ``step_bytes`` with ``reserved_bytes`` besides each program's own. One
    program gets at most ``program_bytes``. ``data_centre``: no kernel may spill on it.
    """

    name: str
    backend: str
    warp_size: int
    example: str
    data_centre: bool
    unit: str
    units: int
    warps: int
    programs: int
    shared_bytes: int
    program_bytes: int
    step_bytes: int
    reserved_bytes: int

    @property
    def arch(self) -> int | str:
        """As Triton's ``GPUTarget`` wants it."""
        return int(self.name.removeprefix("sm_")) if self.backend == "cuda" else self.name

    @property
    def occupancy_unit(self) -> str:
        """What `resident` counts: ``warps/SM``, ``waves/CU`` or ``waves/WGP``."""
        return f"{'warps' if self.backend == 'cuda' else 'waves'}/{self.unit}"

    def resident(
        self, *, warps: int, shared_bytes: int, register_warps: int, tensor_columns: int = 0
    ) -> int:
        """Warps that one unit holds at a time, of programs of ``warps`` each; whole programs only.

        ``register_warps``: warps whose registers fit. 0 if not even one program can start.
        """
        if shared_bytes > self.program_bytes:
            return 0
        programs = min(self.programs, self.warps // warps, register_warps // warps)
        taken = -(-(shared_bytes + self.reserved_bytes) // self.step_bytes) * self.step_bytes
        if taken:
            programs = min(programs, self.shared_bytes // taken)
        if tensor_columns:
            programs = min(programs, _TENSOR_COLUMNS // tensor_columns)
        return programs * warps


def register_warps(registers: int) -> int:
    """Warps with so many registers per thread that an NVIDIA multiprocessor holds."""
    per_warp = -(-registers * 32 // _REGISTER_STEP) * _REGISTER_STEP
    return _PARTITIONS * (_PARTITION_REGISTERS // per_warp)


def units_of(name: str) -> int:
    """Units of the chip of that name, by which grids are chosen: the same for all its products, so
    that plans, results and what is compiled do not depend on which of them is at hand.

    One that is not in the table is taken for the widest that is: programs too many wait their turn,
    too few leave units idle. The interpreter runs one program at a time.
    """
    if name == "interpreter":
        return 1
    return CHIPS[name].units if name in CHIPS else max(chip.units for chip in CHIPS.values())


def _nvidia(
    name: str, example: str, units: int, warps: int, programs: int, shared_kib: int, *,
    data_centre: bool,
) -> Chip:  # fmt: skip
    return Chip(
        name=name, backend="cuda", warp_size=32, example=example, data_centre=data_centre,
        unit="SM", units=units, warps=warps, programs=programs, shared_bytes=shared_kib * 1024,
        program_bytes=(shared_kib - 1) * 1024, step_bytes=128, reserved_bytes=1024,
    )  # fmt: skip


def _cdna(name: str, example: str, units: int, lds_kib: int, step_bytes: int) -> Chip:
    return Chip(
        name=name, backend="hip", warp_size=64, example=example, data_centre=True, unit="CU",
        units=units, warps=32, programs=32, shared_bytes=lds_kib * 1024,
        program_bytes=lds_kib * 1024, step_bytes=step_bytes, reserved_bytes=0,
    )  # fmt: skip


# NVIDIA: CUDA C++ Programming Guide 13.0, table "Technical Specifications per Compute Capability";
# granularities and the reserved KiB from CUDA 13.0's cuda_occupancy.h. Read 2026-11-24.
# AMD: LDS from ROCm's "AMD GPU specifications" (read 2026-11-24; gfx1100: 128 KiB per pair of
# compute units, of which a program gets 64). Four SIMDs per unit, of 8 waves (RDNA 3: 16), and the
# steps of LDS are LLVM's (AMDGPUBaseInfo); LLVM's limit of programs never binds before the waves'.
# Units: NVIDIA's architecture white papers (A100, H100 SXM, RTX 5090) and B200's data sheet; the
# same table of ROCm's, read 2026-11-28. Of an MI250X one die counts, which is a device of its own;
# of a gfx1100 work-group processors, pairs of its 96 compute units.
CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        _nvidia("sm_80", "A100", 108, 64, 32, 164, data_centre=True),
        _nvidia("sm_90", "H100, H200, GH200", 132, 64, 32, 228, data_centre=True),
        _nvidia("sm_100", "B200, GB200", 148, 64, 32, 228, data_centre=True),
        _nvidia("sm_120", "RTX 5090", 170, 48, 24, 100, data_centre=False),
        _cdna("gfx90a", "MI210, MI250X", 110, 64, 512),
        _cdna("gfx942", "MI300X, MI325X", 304, 64, 512),
        _cdna("gfx950", "MI350X, MI355X", 256, 160, 1280),
        Chip(
            name="gfx1100", backend="hip", warp_size=32, example="RX 7900 XTX", data_centre=False,
            unit="WGP", units=48, warps=64, programs=64, shared_bytes=128 * 1024,
            program_bytes=64 * 1024, step_bytes=512, reserved_bytes=0,
        ),
    )
}  # fmt: skip
