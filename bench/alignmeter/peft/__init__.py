"""PEFT modes: what a step trains. One file each, on the peft library and bitsandbytes."""

__all__ = ["PeftMode", "adapters_off", "open_peft"]

from alignmeter.peft.adapters import adapters_off
from alignmeter.peft.base import PeftMode
from alignmeter.registry import PEFT_MODES, load


def open_peft(name: str) -> PeftMode:
    """The mode of that name. Raises `InputError` for an unknown one."""
    mode: PeftMode = load(PEFT_MODES, name)
    return mode
