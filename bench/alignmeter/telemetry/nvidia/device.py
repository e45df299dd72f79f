"""One GPU or MIG slice of NVML: what never changes is asked once, here.

Sources, unless a comment names another: nvml.h of CUDA 13 and the NVML API reference,
docs.nvidia.com/deploy/nvml-api.
"""

__all__ = ["Asker", "Device", "open_device"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from alignmeter.telemetry.base import Capabilities, Identity
from alignmeter.telemetry.nvidia.codes import (
    FOR_GOOD,
    TOO_OLD,
    Refusal,
    bus_id,
    form_factor,
    profile,
    refusal,
    throttles,
)

_ENERGY, _AVERAGE, _INSTANT, _LIMIT = 83, 185, 186, 190
"""Fields: mJ since the driver was loaded (Volta or newer); mW over 1 s; mW now; enforced mW."""
_GPU, _MODULE = 0, 1
"""Scopes of the power fields; the module is "CPU + GPU", where the CPU is NVIDIA's (nvml.h)."""
_SCOPES = ("gpu", "module")
_POWERS = ((_INSTANT, _GPU), (_INSTANT, _MODULE), (_AVERAGE, _GPU), (_AVERAGE, _MODULE))
"""Best first: wanted is the power now, and the GPU's."""
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""By nvmlValueType_t: which member of the union was written. Drivers differ in it."""
_PER_SLICE = {
    "power_w": "NVML gives no power per MIG slice: its handle answers with the whole GPU's",
    "energy_j": "NVML gives no energy per MIG slice: its handle answers with the whole GPU's",
}
_NO_CLOCK = "NVML's counter has no clock of its own"

Fields = Mapping[str, tuple[int, int]]
"""Figure -> field id and scope."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What is remembered of a device, and the calls of a reading: one for all ``fields``."""

    gpu: Any
    identity: Identity
    capabilities: Capabilities
    fields: Fields
    questions: Mapping[str, Callable[[], Any]]


class Asker:
    """pynvml without its exceptions: what NVML refuses is a `Refusal`."""

    def __init__(self, nvml: Any) -> None:
        """``nvml``: the module pynvml, initialised."""
        self.nvml = nvml

    def answer(self, question: Callable[[], Any]) -> Any:
        """What the call returns, or the refusal."""
        try:
            return question()
        except self.nvml.NVMLError as error:
            return refusal(error.value)

    def told(self, name: str, *arguments: object) -> Any:
        """What the function of that name returns, or ``None`` where nobody needs a reason."""
        function = getattr(self.nvml, name, None)
        if function is None:  # an older pynvml
            return None
        answer = self.answer(partial(function, *arguments))
        return None if isinstance(answer, Refusal) else answer

    def newest(self, names: list[str], *arguments: object) -> Callable[[], Any]:
        """A call of the first of these functions that both pynvml and the driver have."""
        functions = [getattr(self.nvml, name) for name in names if hasattr(self.nvml, name)]
        calls = [partial(function, *arguments) for function in functions]
        for call in calls:
            answer = self.answer(call)
            if not isinstance(answer, Refusal) or answer.code != TOO_OLD:
                return call
        return calls[-1]

    def fields(self, gpu: Any, fields: Fields) -> dict[str, Any]:
        """W or J of each field, in one call; each has a return code of its own."""
        if not fields:
            return {}
        wanted = list(fields.values())
        found = self.answer(partial(self.nvml.nvmlDeviceGetFieldValues, gpu, wanted))
        if isinstance(found, Refusal):
            return dict.fromkeys(fields, found)
        return {figure: _value(field) for figure, field in zip(fields, found, strict=True)}


def _value(field: Any) -> float | Refusal:
    """W or J: power is told in mW, energy in mJ."""
    if field.nvmlReturn:
        return refusal(field.nvmlReturn)
    if field.valueType >= len(_MEMBERS):
        return Refusal(0, f"NVML gave a value of the unknown type {field.valueType}")
    milli: float = getattr(field.value, _MEMBERS[field.valueType])
    return milli / 1e3


def open_device(ask: Asker, handle: Any, gpu: Any, pid: int) -> Device:
    """Ask a device everything once, and remember what it refuses for good.

    ``gpu`` is its physical GPU, ``handle`` itself unless it is a slice; ``pid``: whose memory.
    """
    fields: Fields = {}
    if handle is gpu:
        capabilities, fields = _power(ask, gpu)
    else:
        # Asked, a slice's handle gives the GPU's power (github.com/guilbaults/slurm-job-exporter,
        # pull 55), so it is not asked.
        capabilities = Capabilities(missing=_PER_SLICE)
    questions = _questions(ask, handle, gpu, pid)
    missing = {"device_s": _NO_CLOCK, **capabilities.missing}
    for figure, question in list(questions.items()):
        answer = ask.answer(question)
        if isinstance(answer, Refusal) and answer.code:
            missing[figure] = answer.reason
            if answer.code in FOR_GOOD:
                del questions[figure]
    return Device(
        gpu=gpu,
        identity=_identity(ask, handle, gpu, capabilities),
        capabilities=replace(capabilities, missing=missing),
        fields=fields,
        questions=questions,
    )


def _power(ask: Asker, gpu: Any) -> tuple[Capabilities, Fields]:
    """In which scope and kind it tells power and energy, and the fields of a reading.

    On a GH200 the counter counts the whole module (github.com/ml-energy/zeus, pull 172), and some
    drivers tell power for the module only. So the counter's scope is the module if power is told
    for it, and the GPU is linked to a CPU chip to chip or has no power of its own.
    """
    asked = {f"{field} {scope}": (field, scope) for field, scope in (*_POWERS, (_ENERGY, _GPU))}
    answers = dict(zip(asked.values(), ask.fields(gpu, asked).values(), strict=True))
    told = [pair for pair in _POWERS if not isinstance(answers[pair], Refusal)]
    # A sensor that is not there may answer with 0 W.
    best = next((pair for pair in told if answers[pair] > 0), told[0] if told else _POWERS[0])
    fields = {"power_w": best, "energy_j": (_ENERGY, _GPU)}
    refused = {f: answers[pair] for f, pair in fields.items() if isinstance(answers[pair], Refusal)}
    link = ask.told("nvmlDeviceGetC2cModeInfoV", gpu)
    linked = best[1] == _MODULE or (link is not None and bool(link.isC2cEnabled))
    module = linked and any(scope == _MODULE for _, scope in told)
    kind = "instant" if best[0] == _INSTANT else "average"
    capabilities = Capabilities(
        energy_scope=None if "energy_j" in refused else _SCOPES[module],
        power_scope=None if "power_w" in refused else _SCOPES[best[1]],
        power_kind=None if "power_w" in refused else kind,
        missing={figure: answer.reason for figure, answer in refused.items()},
    )
    gone = {figure for figure, answer in refused.items() if answer.code in FOR_GOOD}
    return capabilities, {f: pair for f, pair in fields.items() if f not in gone}


def _identity(ask: Asker, handle: Any, gpu: Any, capabilities: Capabilities) -> Identity:
    name = ask.told("nvmlDeviceGetName", handle) or "NVIDIA GPU"
    memory = ask.told("nvmlDeviceGetMemoryInfo", handle)
    pci = ask.told("nvmlDeviceGetPciInfo", gpu)
    limit_mw = ask.told("nvmlDeviceGetEnforcedPowerLimit", gpu)
    gpu_cap_w = None if limit_mw is None else limit_mw / 1e3
    cap_w, group = gpu_cap_w, ask.told("nvmlDeviceGetUUID", gpu)
    if "module" in (capabilities.energy_scope, capabilities.power_scope):
        limit = ask.fields(gpu, {"cap": (_LIMIT, _MODULE)})["cap"]
        cap_w = None if isinstance(limit, Refusal) else limit
        group = _module(ask, gpu) or group
    mode = ask.told("nvmlDeviceGetMigMode", gpu)
    clocks = {
        "compute": ask.told("nvmlDeviceGetMaxClockInfo", gpu, ask.nvml.NVML_CLOCK_SM),
        "memory": ask.told("nvmlDeviceGetMaxClockInfo", gpu, ask.nvml.NVML_CLOCK_MEM),
    }
    return Identity(
        name=name,
        uuid=ask.told("nvmlDeviceGetUUID", handle),
        pci_bus_id=None if pci is None else bus_id(pci.busId),
        driver=ask.told("nvmlSystemGetDriverVersion"),
        memory_bytes=None if memory is None else memory.total,
        form_factor=form_factor(name, gpu_cap_w),
        power_cap_w=cap_w if handle is gpu else None,
        partition=profile(name),
        energy_group=group,
        clocks_mhz={domain: mhz for domain, mhz in clocks.items() if mhz is not None},
        divided=handle is gpu and mode is not None and bool(mode[0]),
    )


def _module(ask: Asker, gpu: Any) -> str | None:
    """A name that the GPUs of one module share: the memory nodes of the CPU they sit next to.

    They all give their module's power, which must not be added: a GB300's has a limit of 2900 W,
    each GPU's is 1400 (github.com/NVIDIA/k8s-test-infra/issues/676). ``nvmlDeviceGetModuleId``
    counts the GPUs of a board and not such modules.
    """
    nodes = ask.told("nvmlDeviceGetMemoryAffinity", gpu, 4, ask.nvml.NVML_AFFINITY_SCOPE_NODE)
    if nodes is None:
        return None
    return "module at memory nodes " + "-".join(f"{mask:x}" for mask in nodes)


def _questions(ask: Asker, handle: Any, gpu: Any, pid: int) -> dict[str, Callable[[], Any]]:
    """Figure -> call. Clocks, heat and errors are the GPU's, memory is the slice's."""
    nvml = ask.nvml
    # With a version in the name: without one, pynvml turns a missing function into an exception
    # that is no NVMLError.
    processes = [f"nvmlDeviceGetComputeRunningProcesses_v{version}" for version in (3, 2)]
    temperatures = ["nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"]
    reasons = [f"nvmlDeviceGetCurrentClocks{word}Reasons" for word in ("Event", "Throttle")]
    errors = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
    return {
        "memory_used_bytes": partial(_used_bytes, nvml, handle),
        "memory_process_bytes": partial(_process_bytes, ask.newest(processes, handle), pid),
        "clock_mhz": partial(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": partial(nvml.nvmlDeviceGetClockInfo, gpu, nvml.NVML_CLOCK_MEM),
        "temperature_c": ask.newest(temperatures, gpu, nvml.NVML_TEMPERATURE_GPU),
        "ecc_errors": partial(nvml.nvmlDeviceGetTotalEccErrors, gpu, *errors),
        "throttles": partial(_throttles, ask.newest(reasons, gpu)),
    }


def _used_bytes(nvml: Any, handle: Any) -> int:
    """By version 2 of the struct: version 1 counts what the driver reserves as used."""
    used: int = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2).used
    return used


def _process_bytes(processes: Callable[[], Any], pid: int) -> int | Refusal:
    mine: list[int | None] = [
        process.usedGpuMemory for process in processes() if process.pid == pid
    ]
    if not mine:
        return Refusal(
            0,
            f"NVML lists no process {pid} on this device: it holds no memory here, or NVML counts"
            " in another PID namespace (a container without --pid=host)",
        )
    told = [used for used in mine if used is not None]
    if len(told) < len(mine):
        return Refusal(0, f"NVML lists process {pid} without its memory")
    return sum(told)


def _throttles(reasons: Callable[[], int]) -> tuple[str, ...]:
    return throttles(reasons())
