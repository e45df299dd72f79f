"""The value of an axis that nobody named, given the others."""

__all__ = ["default_of"]

from collections.abc import Mapping

from alignmeter.cells.axes import AXES, AxisValue
from alignmeter.registry import ACCELERATORS, PEFT_MODES


def default_of(name: str, axes: Mapping[str, AxisValue | None]) -> AxisValue | None:
    """The declared default, or the one that follows from ``axes``.

    ``None`` where it follows from a name that this version does not know: a record of another
    version may hold one.
    """
    declared = AXES[name].default
    if declared is not None:
        return declared
    return _FOLLOWS[name](axes)


def _prompt_len(axes: Mapping[str, AxisValue | None]) -> AxisValue | None:
    return int(axes["seq_len"] or 0) // 2


def _ref(axes: Mapping[str, AxisValue | None]) -> AxisValue | None:
    row = PEFT_MODES.get(str(axes["peft"]))
    return None if row is None else row.default_ref


def _precision(axes: Mapping[str, AxisValue | None]) -> AxisValue | None:
    device, mode = ACCELERATORS.get(str(axes["accelerator"])), PEFT_MODES.get(str(axes["peft"]))
    if device is None or mode is None:
        return None
    return device.adapter_precision if mode.adapters else device.precision


_FOLLOWS = {"prompt_len": _prompt_len, "ref": _ref, "precision": _precision}
