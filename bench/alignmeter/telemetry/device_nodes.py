"""Whether a device of a kind may be here at all: a question that needs no library and no time."""

__all__ = ["device_nodes"]

from pathlib import Path

_NODES: dict[str, tuple[str, ...]] = {
    # The second is how the Windows Subsystem for Linux presents a GPU.
    "cuda": ("nvidia[0-9]*", "dxg"),
    "rocm": ("kfd",),
    "xpu": ("dri/renderD*",),
    "cpu": ("null",),
}


def device_nodes(accelerator: str, folder: Path = Path("/dev")) -> list[Path]:
    """The driver's device files below ``folder`` for that accelerator; none without its driver.

    Some are a driver's of another vendor as well (``renderD*``): empty is a proof, others are not.
    Raises `KeyError` for an accelerator without a row.
    """
    return sorted(path for pattern in _NODES[accelerator] for path in folder.glob(pattern))
