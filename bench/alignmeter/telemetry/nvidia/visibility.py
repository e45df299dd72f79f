"""Which of NVIDIA's devices the visible-devices variables leave, as CUDA and torch number them.

Source: CUDA Programming Guide, "CUDA Environment Variables".
"""

__all__ = ["visible_nvidia"]

from collections.abc import Mapping, Sequence

from alignmeter.telemetry.visibility import Named, Visible, by_index, by_uuid, indices, unknown

_UUIDS = ("GPU-", "MIG-")
_INSTANCE = "use the UUID of an instance, MIG-…"
_PCI_ORDER = "set CUDA_DEVICE_ORDER=PCI_BUS_ID or use UUIDs"


def visible_nvidia(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER leave of ``devices``, in NVML's order.

    CUDA sees no GPU in MIG mode, only its instances.
    """
    divided = {key for key, identity in devices if identity.divided}
    asked = environment.get("CUDA_VISIBLE_DEVICES")
    if asked is not None and asked.startswith(_UUIDS):
        found = by_uuid(asked, devices)
        if divided & {*found}:
            return unknown("which instance a GPU's UUID means is CUDA's choice", _INSTANCE)
        if len(found) > 1 and asked.startswith("MIG-"):
            return unknown(
                "how many MIG instances one process sees depends on the version of CUDA",
                "name one instance in CUDA_VISIBLE_DEVICES",
            )
        return Visible(devices=found)
    if asked is not None and not indices(asked):
        return Visible(devices=())
    if any((identity.uuid or "").startswith("MIG-") for _, identity in devices):
        return unknown("with MIG an index names no instance", _INSTANCE)
    devices = [named for named in devices if named[0] not in divided]
    # Like devices are equally fast, and keep the order of their buses.
    unlike = len({(identity.name, identity.memory_bytes) for _, identity in devices}) > 1
    if unlike and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return unknown("CUDA numbers unlike GPUs by a speed that only it knows", _PCI_ORDER)
    if len(devices) > 1 and not all(identity.pci_bus_id for _, identity in devices):
        return unknown("CUDA orders by PCI bus id, and a GPU has none", "use UUIDs")
    ordered = [key for key, _ in sorted(devices, key=lambda named: named[1].pci_bus_id or "")]
    if asked is None:
        return Visible(devices=tuple(ordered))
    return Visible(devices=by_index(indices(asked), ordered))
