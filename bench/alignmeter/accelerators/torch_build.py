"""What the installed torch was built for, without the seconds that importing it takes."""

__all__ = ["torch_build"]

import runpy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def torch_build(toolkit: str) -> str | None:
    """Version of ``cuda``, ``hip`` or ``xpu`` that torch was built for; ``None``: not for that one.

    As ``torch.version`` has it.
    """
    found: str | None = _version().get(toolkit)
    return found


@cache
def _version() -> dict[str, Any]:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    return runpy.run_path(str(Path(spec.origin).with_name("version.py")))
