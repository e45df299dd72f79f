"""AMD GPUs through AMD SMI's Python binding (``amdsmi``), ROCm 6.2 and later, AMD SMI 27 too.

AMD SMI is not thread-safe before ROCm 7.2, so all calls come from the thread that opened it. It
holds a mutex in ``/dev/shm``: a process that samples must not be killed with SIGKILL.
"""

__all__ = ["AmdSmi", "open_amd"]

import threading
from dataclasses import replace
from typing import Any

from alignmeter.telemetry.amd.answers import Refused, ask
from alignmeter.telemetry.amd.binding import Binding, load_binding
from alignmeter.telemetry.amd.figures import Figures
from alignmeter.telemetry.amd.identity import Place, ask_who, device_keys, hip_ranks, places
from alignmeter.telemetry.base import (
    Capabilities,
    Identity,
    NoTelemetry,
    Probe,
    Sample,
    Telemetry,
)

_SECOND_DIE = "second die of an MI250: the first die, {}, reports power and energy of the module"


def open_amd(pid: int) -> Telemetry:
    """All AMD GPUs, for that process; where there are none, a null object with the reason."""
    binding = load_binding()
    if isinstance(binding, NoTelemetry):
        return binding
    smi = binding.smi
    started = ask(smi, "amdsmi_init", smi.AmdSmiInitFlags.INIT_AMD_GPUS)
    if isinstance(started, Refused):
        return NoTelemetry(started.words, started.remedy)
    handles = ask(smi, "amdsmi_get_processor_handles")
    if isinstance(handles, Refused) or not handles:
        ask(smi, "amdsmi_shut_down")
        words = handles.words if isinstance(handles, Refused) else "AMD SMI sees no GPU"
        return NoTelemetry(
            words,
            "is /dev/dri passed to the container, and is it readable? Two libamd_smi.so in one "
            "process see none either: remove the amdsmi that is not ROCm's own",
        )
    return AmdSmi(binding, handles, pid)


class AmdSmi:
    """All devices that AMD SMI sees, in its order. One thread only: others get `RuntimeError`."""

    def __init__(self, binding: Binding, handles: list[Any], pid: int) -> None:
        self._smi, self._rocm = binding.smi, binding.rocm
        self._thread = threading.get_ident()
        found = [ask_who(self._smi, handle) for handle in handles]
        figures = [Figures(self._smi, handle, pid) for handle in handles]
        places(found, [one.watts() for one in figures])
        self._places: dict[str, Place] = dict(zip(device_keys(found), found, strict=True))
        self._figures = dict(zip(self._places, figures, strict=True))
        self._ranks = hip_ranks(self._places)
        # It asks once for what the device has not, and starts the count of throttling.
        self._first = {key: self._first_of(key) for key in self._places}

    def probe(self) -> Probe:
        """Available, with the versions of library and ROCm."""
        self._same_thread()
        found = ask(self._smi, "amdsmi_get_lib_version")
        library = "AMD SMI"
        if not isinstance(found, Refused):
            library += " {major}.{minor}.{release}".format(**found)
        if self._rocm:
            library += f" (ROCm {self._rocm})"
        return Probe(available=True, library=library)

    def devices(self) -> list[str]:
        """HIP's unique ids (``GPU-…``), or bus ids where those are missing or shared."""
        self._same_thread()
        return list(self._places)

    def identity(self, device: str) -> Identity:
        """As it was when the library was opened. Raises `KeyError`."""
        self._same_thread()
        place = self._places[device]
        rank = self._ranks.get(device)
        return replace(place.identity, energy_group=place.group, runtime_index=rank)

    def read(self, device: str) -> Sample:
        """Its figures now; throttles of MI300 and later: since the last reading."""
        self._same_thread()
        return self._figures[device].read()

    def capabilities(self, device: str) -> Capabilities:
        """What the first reading had, and whose power and energy it is. Raises `KeyError`."""
        self._same_thread()
        sample = self._first[device]
        scope = self._places[device].scope
        return Capabilities(
            energy_scope=scope if sample.energy_j is not None else None,
            power_scope=scope if sample.power_w is not None else None,
            power_kind=self._figures[device].power_kind if sample.power_w is not None else None,
            missing=sample.missing,
        )

    def close(self) -> None:
        """Shut the library down, which counts those who opened it."""
        self._same_thread()
        ask(self._smi, "amdsmi_shut_down")

    def _first_of(self, device: str) -> Sample:
        place, figures = self._places[device], self._figures[device]
        figures.power_cap_w = place.identity.power_cap_w
        if place.second:
            reason = _SECOND_DIE.format(place.group)
            figures.unsupported.update(dict.fromkeys(("power_w", "energy_j", "device_s"), reason))
        elif place.group != place.identity.pci_bus_id:
            figures.sensor = f"the first partition of its socket, {place.group},"
        return figures.read()

    def _same_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("AMD SMI is used from the thread that opened it, and no other")
