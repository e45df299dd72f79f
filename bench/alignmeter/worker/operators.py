"""Seconds of one profiled step in the sequence mixer's operators, apart from the rest."""

__all__ = ["FAMILIES", "REST", "profile_operators"]

from collections.abc import Callable
from typing import Any

import torch

from alignmeter.worker.attention import BACKENDS

FAMILIES: dict[str, str] = {
    # torch's attention: the operator that transformers calls and what it is dispatched to. The
    # backward pass of its plain path (math) has no operator of its own and counts with the rest.
    "aten::scaled_dot_product_attention": "attention",
    "aten::_scaled_dot_product_attention_math": "attention",
    **{f"aten::{name}": "attention" for name in BACKENDS},
    **{f"aten::{name}_backward": "attention" for name in BACKENDS},
    # This project's scans. transformers' own are many small operators without a name of their own.
    "alignmeter::selective_scan": "scan",
    "alignmeter::selective_scan_backward": "scan",
    "alignmeter::ssd_scan": "scan",
    "alignmeter::ssd_scan_backward": "scan",
    # The Mambas' short convolution; no other model here has one.
    "alignmeter::causal_conv1d": "convolution",
    "alignmeter::causal_conv1d_backward": "convolution",
    "aten::conv1d": "convolution",
    "aten::convolution": "convolution",
    "aten::convolution_backward": "convolution",
}
"""Operator, as torch's profiler names it -> family. What it calls inside itself counts with it."""
REST = "rest"


def profile_operators(run: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Family -> s over one ``run``: of the device, or of the calling thread on a CPU.

    The families sum to the time of all operators, Python between them left out. Empty where the
    profiler saw nothing of the device.
    """
    from torch.profiler import profile

    # Torch 2.11 warns of events that it clears after a cycle unless it is told to keep them.
    with profile(acc_events=True) as profiler:
        run()
    seconds = {REST: 0.0}
    for event in profiler.events():
        if event.device_type.name != "CPU":
            continue  # a kernel: its time stands with the operator that launched it
        own = event.self_cpu_time_total if device.type == "cpu" else event.self_device_time_total
        family = _family(event)
        seconds[family] = seconds.get(family, 0.0) + own / 1e6
    return seconds if sum(seconds.values()) > 0 else {}


def _family(event: Any) -> str:
    """That of the operator or of the outermost one around it."""
    found = REST
    while event is not None:
        found = FAMILIES.get(event.name, found)
        event = event.cpu_parent
    return found
