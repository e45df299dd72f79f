"""Proof that each Triton function compiles for chips that are not here, and what it needs there.

``compile_launch`` gives registers, spills, shared memory and the matrix instruction of one recorded
launch; no GPU and no driver is used. Run as ``alignmeter kernels``.
"""

__all__ = [
    "Compiled",
    "compile_launch",
    "launches_of",
    "missing",
    "triton_version",
]

import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from alignmeter_kernels.chips import Chip, register_warps
from alignmeter_kernels.kernel import Kernel
from alignmeter_kernels.launch import Launched, recording

_MISSING = "Triton is not installed; pip install triton (Linux only)"
_SIMDS = 4
"""Of a compute unit (CDNA) or a work-group processor (RDNA)."""
_MMA = ("tcgen05.mma", "wgmma.mma_async", "mma.sync")
_TOOL_S = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What one Triton function needs on one chip; ``error`` if it does not compile there.

    ``registers``: per thread (VGPRs and AGPRs together on AMD). ``spills``: on NVIDIA bytes of a
    thread's stack, which Triton uses for nothing else; on AMD registers. ``shared_bytes``: shared
    memory or LDS of a program. ``occupancy``: resident warps, in the chip's ``occupancy_unit``.
    ``matrix``: the matrix instruction, if any.
    """

    kernel: str
    case: str
    dtype: str
    function: str
    chip: str
    warps: int
    blocks: dict[str, int | str | bool]
    registers: int | None = None
    spills: int | None = None
    shared_bytes: int | None = None
    occupancy: int | None = None
    matrix: str | None = None
    wants_matrix: bool = False
    error: str | None = None


def missing() -> str | None:
    """Why nothing can be compiled, or ``None``."""
    return None if find_spec("triton") is not None else _MISSING


def triton_version() -> str:
    """Asked of the module: the distribution of AMD's or Intel's build has another name."""
    import triton

    return str(triton.__version__)


def launches_of(kernel: Kernel, chip: str, dtype: torch.dtype) -> list[tuple[str, Launched]]:
    """(case, launch) for every distinct launch that dispatch would make on ``chip``.

    Distinct as Triton's compiler sees it: types, constants, divisibility, tile.
    """
    if kernel.on_chip is None:
        return []
    found = []
    for case in kernel.cases:
        if not case.chips:
            continue
        with recording(chip) as launches, torch.no_grad():
            kernel.on_chip(case.make("meta", dtype), dict(case.options))
        distinct: dict[str, Launched] = {}
        for launched in launches:
            distinct.setdefault(_specialisation(launched), launched)
        found += [(case.name, launched) for launched in distinct.values()]
    return found


def _specialisation(launched: Launched) -> str:
    parts = launched.signature, launched.constants, launched.aligned, launched.tile
    return f"{launched.name} {parts}"


def compile_launch(
    kernel: Kernel, case: str, launched: Launched, chip: Chip, dtype: str
) -> Compiled:
    """Compile for ``chip``. A refusal of the compiler is a result, not an exception."""
    from triton.errors import TritonError

    about: dict[str, Any] = {
        "kernel": kernel.name, "case": case, "dtype": dtype, "function": launched.name,
        "chip": chip.name, "warps": launched.tile.warps,
        "blocks": {k: v for k, v in launched.constants.items() if k.isupper() and v is not None},
        "wants_matrix": launched.name in kernel.matmul and dtype != "float32",
    }  # fmt: skip
    try:
        compiled = _compiled(launched, chip)
        figures = _read(compiled, chip, launched.tile.warps)
        return Compiled(**about, **figures, error=_unfit(figures, chip))
    except (TritonError, RuntimeError, subprocess.SubprocessError) as error:
        return Compiled(**about, error=f"{type(error).__name__}: {str(error).strip()[:500]}")


def _compiled(launched: Launched, chip: Chip) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = launched.function.arg_names
    source = ASTSource(
        fn=launched.function,
        signature=launched.signature,
        constexprs=launched.constants,
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in launched.aligned},
    )
    target = GPUTarget(chip.backend, chip.arch, chip.warp_size)
    return triton.compile(source, target=target, options=launched.tile.options)


def _read(compiled: Any, chip: Chip, warps: int) -> dict[str, Any]:
    about = compiled.metadata
    if chip.backend == "hip":
        read = _read_amd(compiled.asm["amdgcn"])
    else:
        read = _read_nvidia(compiled.asm["ptx"], compiled.asm["cubin"])
    held = read.pop("register_warps")
    occupancy = None
    if held is not None:
        occupancy = chip.resident(
            warps=warps,
            shared_bytes=int(about.shared),
            register_warps=held,
            tensor_columns=int(getattr(about, "tmem_size", None) or 0),
        )
    return {**read, "shared_bytes": int(about.shared), "occupancy": occupancy}


def _unfit(figures: dict[str, Any], chip: Chip) -> str | None:
    """The launch would be refused on the chip although the compiler took it."""
    if figures["occupancy"] != 0:
        return None
    return (
        f"not one program fits: it needs {figures['shared_bytes']} bytes of shared memory (a "
        f"program of {chip.name} gets {chip.program_bytes}) and {figures['registers']} registers"
    )


def _read_nvidia(ptx: str, cubin: bytes) -> dict[str, Any]:
    used = _resources(cubin)
    registers, stack = (_number(rf"\b{what}:(\d+)", used) for what in ("REG", "STACK"))
    return {
        "registers": registers,
        "spills": stack,
        "matrix": next((name for name in _MMA if name in ptx), None),
        "register_warps": None if registers is None else register_warps(registers),
    }


def _read_amd(assembly: str) -> dict[str, Any]:
    """``.vgpr_count`` holds the AGPRs too. The stated occupancy is waves per SIMD and knows the
    registers only, since Triton asks for its LDS at the launch."""

    def directive(name: str) -> int | None:
        return _number(rf"^\s*(?:- )?\.{name}:\s*(\d+)", assembly)

    spilled = [directive("vgpr_spill_count"), directive("sgpr_spill_count")]
    found = re.search(r"\bv_(?:mfma|wmma|smfmac)_\w+", assembly)
    waves = _number(r"^; Occupancy:\s*(\d+)", assembly)
    return {
        "registers": directive("vgpr_count"),
        "spills": None if None in spilled else sum(n or 0 for n in spilled),
        "matrix": None if found is None else found[0],
        "register_warps": None if waves is None else waves * _SIMDS,
    }


def _resources(cubin: bytes) -> str:
    """What the object that would be launched uses. Assembling its PTX once more with ``ptxas -v``
    would answer for another object: Triton's own flags change what is spilt."""
    from triton import knobs

    program = knobs.nvidia.cuobjdump.path
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [str(program), "-res-usage", file.name],
            capture_output=True, text=True, timeout=_TOOL_S, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"cuobjdump: {done.stderr.strip()[-400:]}")
    return done.stdout


def _number(pattern: str, text: str) -> int | None:
    """The largest match: a function that is called but not inlined is listed beside its caller."""
    return max((int(number) for number in re.findall(pattern, text, re.MULTILINE)), default=None)
