"""Launching Triton functions, and recording what a chip that is not here would be given.

Every launch of this package goes through `launch`. Within `recording` nothing runs: meta tensors go
in, and what would have been launched on the named chip comes out, so that what `alignmeter kernels`
compiles is what dispatch launches, to the last block size.
"""

__all__ = [
    "Launched",
    "Tile",
    "chip",
    "filling",
    "launch",
    "launchable",
    "pick",
    "recording",
    "units",
]

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch

from alignmeter_kernels.chips import units_of
from alignmeter_kernels.compile_time import count_triton
from alignmeter_kernels.planning import is_planning, planned_chip, plans_triton

_POINTERS = {
    torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.int64: "*i64",
    torch.int32: "*i32", torch.uint8: "*u8",
}  # fmt: skip
_ALIGNED = 16
"""Bytes: torch's allocators align more than that, and Triton then loads whole vectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """Block sizes of one Triton function, warps per program and stages of its software pipeline."""

    blocks: Mapping[str, int]
    warps: int = 4
    stages: int = 2

    @property
    def options(self) -> dict[str, Any]:
        """What Triton's compiler is told. Fusing of multiply and add is asked for by name, since
        Triton 3.10 changes the default."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Launched:
    """One launch that was recorded: what Triton's compiler needs, and the grid.

    ``signature``: argument -> type (``*bf16``, ``i32``, ``constexpr``). ``aligned``: arguments
    known to be divisible by 16.
    """

    function: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]
    tile: Tile
    grid: tuple[int, ...]

    @property
    def name(self) -> str:
        """The Triton function's own name."""
        return str(self.function.__name__)


@dataclass(kw_only=True, slots=True)
class _Recording:
    chip: str
    launches: list[Launched] = field(default_factory=list)


_RECORDING: ContextVar[_Recording | None] = ContextVar("recording", default=None)


@contextlib.contextmanager
def recording(chip_name: str) -> Iterator[list[Launched]]:
    """Within the context launches are noted as ``chip_name`` would get them; nothing runs."""
    record = _Recording(chip=chip_name)
    token = _RECORDING.set(record)
    try:
        yield record.launches
    finally:
        _RECORDING.reset(token)


def launchable(device: torch.device) -> bool:
    """Whether Triton functions run on tensors of this device: dispatch asks here."""
    if is_planning():
        return plans_triton()
    return device.type in ("cuda", "xpu") and find_spec("triton") is not None


def chip() -> str:
    """The chip that launches go to: ``sm_90``, ``gfx942``, ``xpu``, or ``interpreter``."""
    record = _RECORDING.get()
    if record is not None:
        return record.chip
    planned = planned_chip()
    if planned is not None:
        return planned
    from triton import knobs

    if knobs.runtime.interpret:
        return "interpreter"
    from triton.runtime import driver

    target = driver.active.get_current_target()
    if target.backend == "cuda":
        return f"sm_{target.arch}"
    return str(target.arch).split(":")[0] if target.backend == "hip" else str(target.backend)


def pick(tiles: Mapping[str, Tile]) -> Tile:
    """The tile of this chip: its own row, its family's (``sm``, ``gfx9``), or ``default``."""
    name = chip()
    rows = [row for row in tiles if name.startswith(row)]
    return tiles[max(rows, key=len, default="default")]


def units() -> int:
    """Compute units of this chip: a launch of fewer programs leaves some of them idle."""
    return units_of(chip())


def filling(tiles: Iterable[Tile], programs: Callable[[Tile], int]) -> Tile:
    """The first of ``tiles`` whose launch has a program for every unit of this chip, else the last.

    ``programs``: how many a tile gives. The first is the one to take where there is enough to do,
    those after it are smaller.
    """
    *larger, last = tiles
    return next((tile for tile in larger if programs(tile) >= units()), last)


def launch(
    function: Any, grid: tuple[int, ...], *arguments: Any, tile: Tile, **constants: Any
) -> None:
    """Run ``function`` over ``grid`` with the tile's blocks and ``constants`` by keyword.

    Raises `ValueError` for a tensor with gaps, of which the functions would read the wrong elements
    (they know shapes, no strides), and what Triton raises.
    """
    _refuse_gaps(function, arguments)
    chosen = {**tile.blocks, **constants}
    record = _RECORDING.get()
    if record is not None:
        record.launches.append(_recorded(function, grid, arguments, tile, chosen))
        return
    if is_planning():
        return
    count_triton()
    with _on_device(arguments):
        function[grid](*arguments, **chosen, **tile.options)


def _refuse_gaps(function: Any, arguments: tuple[Any, ...]) -> None:
    for name, value in zip(function.arg_names, arguments, strict=False):  # constants have no place
        if isinstance(value, torch.Tensor) and not value.is_contiguous():
            raise ValueError(
                f"{function.__name__}: {name} {tuple(value.shape)} has strides {value.stride()}; "
                "want it contiguous"
            )


def _on_device(arguments: tuple[Any, ...]) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be the tensors'."""
    device = next(a.device for a in arguments if isinstance(a, torch.Tensor))
    if device.type == "cpu":
        return contextlib.nullcontext()
    found: contextlib.AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return found


def _recorded(
    function: Any,
    grid: tuple[int, ...],
    arguments: tuple[Any, ...],
    tile: Tile,
    chosen: dict[str, Any],
) -> Launched:
    """The launch as Triton's own specialisation would see it.

    1 and ``None`` become constants; integers divisible by 16 and pointers are marked as aligned.
    """
    constants, signature, aligned = dict(chosen), {}, []
    for name, value in zip(function.arg_names, arguments, strict=False):
        if value is None or (isinstance(value, int) and value == 1):
            constants[name] = value
        elif isinstance(value, torch.Tensor):
            signature[name] = _POINTERS[value.dtype]
            aligned.append(name)
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, int) and value % _ALIGNED == 0:
                aligned.append(name)
    signature |= dict.fromkeys(constants, "constexpr")
    return Launched(
        function=function,
        signature={name: signature[name] for name in function.arg_names},
        constants=constants,
        aligned=tuple(aligned),
        tile=tile,
        grid=grid,
    )
