"""NVIDIA GPUs and MIG slices through NVML, by way of nvidia-ml-py (``pynvml``)."""

__all__ = ["Nvml", "open_nvml"]

import contextlib
import time
from collections import defaultdict
from functools import partial
from importlib import import_module
from typing import Any

from alignmeter.telemetry.base import (
    FIGURES,
    Capabilities,
    Identity,
    NoTelemetry,
    Probe,
    Sample,
    Telemetry,
    checked_sample,
)
from alignmeter.telemetry.cached import CACHED_S, CachedAnswers
from alignmeter.telemetry.nvidia.codes import ERRORS, NOT_FOUND, Refusal, refusal
from alignmeter.telemetry.nvidia.device import Asker, Device, open_device


class Nvml:
    """All GPUs that NVML sees. A GPU in MIG mode is followed by its slices."""

    def __init__(self, nvml: Any, pid: int) -> None:
        """``nvml``: the module pynvml, initialised. ``pid``: whose memory is read."""
        self._ask, self._pid, self._is_open = Asker(nvml), pid, True
        self._devices: dict[str, Device] = {}
        self._cached: defaultdict[str, CachedAnswers] = defaultdict(CachedAnswers)
        self._skipped: list[str] = []
        for index in range(self._ask.told("nvmlDeviceGetCount") or 0):
            gpu = self._ask.answer(partial(nvml.nvmlDeviceGetHandleByIndex, index))
            self._add(gpu, gpu, f"GPU {index}")
            if not isinstance(gpu, Refusal):
                self._add_slices(gpu, f"GPU {index}")

    def probe(self) -> Probe:
        """Available; the reason names GPUs that NVML counts and does not open."""
        version = self._ask.told("nvmlSystemGetNVMLVersion")
        reason = "; ".join(self._skipped) or (None if self._devices else "NVML sees no GPU")
        return Probe(available=True, reason=reason, library=f"NVML {version or ''}".rstrip())

    def devices(self) -> list[str]:
        """UUIDs, in NVML's order, which is not CUDA's."""
        return list(self._devices)

    def identity(self, device: str) -> Identity:
        """Who it is; ``power_cap_w`` is the cap of what its counter counts. Raises `KeyError`.

        A GPU and its MIG slices are one energy group, and so are the GPUs of one module.
        """
        return self._devices[device].identity

    def capabilities(self, device: str) -> Capabilities:
        """What it answered when it was opened. Raises `KeyError`."""
        return self._devices[device].capabilities

    def read(self, device: str) -> Sample:
        """Its figures now. Raises `KeyError`.

        Figures of `CACHED_S` may be so old. ``monotonic_s`` is the middle of the call that reads
        the counter, which takes milliseconds on some boards. Clocks, temperature, throttles and ECC
        errors of a slice are its GPU's.
        """
        known = self._devices[device]
        before_s = time.monotonic()
        answers = self._ask.fields(known.gpu, known.fields)
        middle_s = (before_s + time.monotonic()) / 2
        cached = self._cached[device]
        for figure, question in known.questions.items():
            asked = partial(self._ask.answer, question)
            answers[figure] = cached.answer(figure, asked) if figure in CACHED_S else asked()
        values: dict[str, Any] = dict.fromkeys(FIGURES)
        missing = dict(known.capabilities.missing)
        for figure, answer in answers.items():
            if isinstance(answer, Refusal):
                missing[figure] = answer.reason
            else:
                values[figure] = answer
                missing.pop(figure, None)
        reasons = values.pop("throttles", None)
        cap_w = known.identity.power_cap_w
        return checked_sample(middle_s, values, missing, throttles=reasons, power_cap_w=cap_w)

    def close(self) -> None:
        """Let NVML go. It counts its users: others in this process keep it."""
        if self._is_open:
            self._is_open = False
            self._devices.clear()
            with contextlib.suppress(self._ask.nvml.NVMLError):
                self._ask.nvml.nvmlShutdown()

    def _add_slices(self, gpu: Any, name: str) -> None:
        uuid = self._ask.told("nvmlDeviceGetUUID", gpu)
        if uuid not in self._devices or not self._devices[uuid].identity.divided:
            return
        # The count is the most that there can be: an index without a slice is "not found".
        for index in range(self._ask.told("nvmlDeviceGetMaxMigDeviceCount", gpu) or 0):
            slice_at = partial(self._ask.nvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu, index)
            handle = self._ask.answer(slice_at)
            if not isinstance(handle, Refusal) or handle.code != NOT_FOUND:
                self._add(handle, gpu, f"{name}, slice {index}")

    def _add(self, handle: Any, gpu: Any, name: str) -> None:
        uuid = handle
        if not isinstance(handle, Refusal):
            uuid = self._ask.answer(partial(self._ask.nvml.nvmlDeviceGetUUID, handle))
        if isinstance(uuid, Refusal):
            self._skipped.append(f"{name}: {uuid.reason}")
        else:
            self._devices[uuid] = open_device(self._ask, handle, gpu, self._pid)


def open_nvml(pid: int) -> Telemetry:
    """NVML, for the process ``pid``; the null object with the reason if it cannot be used."""
    # By name, since nvidia-ml-py has no types; here, since an import loads nothing of a vendor's.
    nvml = import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        _, remedy = ERRORS.get(error.value, ("", None))
        return NoTelemetry(f"NVML: {refusal(error.value).reason}", remedy)
    return Nvml(nvml, pid)
