"""Every name a user can choose, and where it lives. A new entry is one row here and one file there.

The rows are strings, so that floor 0 knows the names without importing torch.
"""

__all__ = ["ACCELERATORS", "ARCHITECTURES", "METHODS", "PEFT_MODES", "TELEMETRY", "load"]

from importlib import import_module
from typing import Any

from alignmeter.errors import InputError, known

METHODS: dict[str, str] = {
    "sft": "alignmeter.methods.sft:SFT",
    "rm": "alignmeter.methods.rm:RM",
    "dpo": "alignmeter.methods.dpo:DPO",
    "ppo": "alignmeter.methods.ppo:PPO",
}

ARCHITECTURES: dict[str, str] = {
    "llama": "alignmeter.architectures.llama:LLAMA",
    "mamba": "alignmeter.architectures.mamba:MAMBA",
    "mamba2": "alignmeter.architectures.mamba2:MAMBA2",
}

PEFT_MODES: dict[str, str] = {
    "full": "alignmeter.peft.full:FULL",
    "lora": "alignmeter.peft.lora:LORA",
    "qlora": "alignmeter.peft.qlora:QLORA",
}

ACCELERATORS: dict[str, str] = {
    "cuda": "alignmeter.accelerators.cuda:CUDA",
    "rocm": "alignmeter.accelerators.rocm:ROCM",
    "xpu": "alignmeter.accelerators.xpu:XPU",
    "cpu": "alignmeter.accelerators.cpu:CPU",
}
"""In the order in which ``auto`` looks for them."""

TELEMETRY: dict[str, str] = {
    "cuda": "alignmeter.telemetry.nvidia.nvml:open_nvml",
    "rocm": "alignmeter.telemetry.amd.smi:open_amd",
    "xpu": "alignmeter.telemetry.intel.sysfs:open_intel",
    "cpu": "alignmeter.telemetry.linux.host:open_cpu",
}
"""Accelerator -> the function that opens its telemetry for a process id."""


def load(rows: dict[str, str], name: str) -> Any:
    """The object behind one row. Raises `InputError` for a name without a row."""
    if name not in rows:
        raise InputError(f"{name!r} is not a known name; {known(rows)}")
    module, _, attribute = rows[name].partition(":")
    return getattr(import_module(module), attribute)
