"""Which device of a telemetry is the one that torch computes on.

Never by index: the visible-devices variables renumber torch's devices and not a library's.
"""

__all__ = ["find_device"]

import re

from alignmeter.telemetry.base import Identity, Telemetry

_PREFIX = re.compile(r"^(?:gpu|mig)-", re.IGNORECASE)
_BUS = re.compile(r"^(?:([0-9a-f]+):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])$", re.IGNORECASE)


def find_device(telemetry: Telemetry, uuid: str | None, pci_bus_id: str | None) -> str:
    """The key of the device with that UUID, else of the one on that PCI bus id.

    Of a device that is divided it is the slice, where there is one: the UUID may be the whole's.
    A telemetry of one device answers for a torch device that has neither: the CPU. Raises
    `LookupError` with what was looked for and what is there.
    """
    identities = {key: telemetry.identity(key) for key in telemetry.devices()}
    if uuid is None and pci_bus_id is None and len(identities) == 1:
        return next(iter(identities))
    wanted = _spellings(uuid)
    named = [key for key, i in identities.items() if wanted & _spellings(i.uuid)]
    found = [key for key in named if not identities[key].divided]
    if not found:
        buses = [identities[key].pci_bus_id for key in named]
        bus = _bus(pci_bus_id) or _intel_bus(uuid) or next(map(_bus, buses), None)
        there = [key for key, i in identities.items() if bus and bus == _bus(i.pci_bus_id)]
        found = [key for key in there if not identities[key].divided]
    if len(found) == 1:
        return found[0]
    count = "no device has" if not found else f"{len(found)} devices have"
    here = ", ".join(_text(key, i) for key, i in identities.items()) or "none"
    raise LookupError(f"{count} UUID {uuid} or PCI bus id {pci_bus_id}; there are: {here}")


def _spellings(uuid: str | None) -> set[str]:
    """One UUID in the forms that can be compared: hexadecimal digits only, in lower case.

    torch on ROCm gives the 16 characters of the unique id as the 16 bytes of a UUID
    (``hipDeviceGetUuid``); HIP itself writes ``GPU-`` and the 16 characters.
    """
    if uuid is None:
        return set()
    digits = _PREFIX.sub("", uuid.strip()).replace("-", "").lower()
    forms = {digits.removeprefix("0x")}
    if re.fullmatch(r"(?:3[0-9]|4[1-6]|6[1-6]){16}", digits):
        forms.add(bytes.fromhex(digits).decode().lower())
    return forms


def _bus(pci_bus_id: str | None) -> tuple[int, int, int, int] | None:
    """Domain, bus, device, function: libraries write the domain with four or eight digits."""
    match = None if pci_bus_id is None else _BUS.match(pci_bus_id.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    return domain, bus, device, function


def _intel_bus(uuid: str | None) -> tuple[int, int, int, int] | None:
    """Where a device of Intel is, read from its UUID: torch has no other word on it for XPU.

    Vendor, device, revision and domain of two bytes each, the lower first, then bus, device and
    function of one (intel/compute-runtime, ``Device::generateUuidFromPciBusInfo``).
    """
    digits = "" if uuid is None else uuid.replace("-", "").lower()
    if not re.fullmatch(r"8680[0-9a-f]{28}", digits):
        return None
    raw = bytes.fromhex(digits)
    return int.from_bytes(raw[6:8], "little"), raw[8], raw[9], raw[10]


def _text(key: str, identity: Identity) -> str:
    return f"{key} (UUID {identity.uuid}, PCI bus id {identity.pci_bus_id})"
