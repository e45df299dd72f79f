"""Which of AMD's devices the visible-devices variables leave, as HIP and torch number them.

Sources: ROCm documentation, "GPU isolation techniques", with ROCR's ``RvdFilter`` and HIP's
``Device::init``.
"""

__all__ = ["visible_amd"]

from collections.abc import Mapping, Sequence

from alignmeter.telemetry.visibility import (
    Named,
    Visible,
    by_index,
    by_uuid,
    indices,
    named_by,
    unknown,
)


def visible_amd(environment: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """What ROCR_VISIBLE_DEVICES, then HIP_VISIBLE_DEVICES, or else CUDA_VISIBLE_DEVICES, leave.

    HIP numbers by `Identity.runtime_index`. GPU_DEVICE_ORDINAL is OpenCL's: HIP does not read it.
    """
    ranks = {key: identity.runtime_index for key, identity in devices}
    if len(devices) > 1 and None in ranks.values():
        return unknown("AMD SMI does not tell HIP's order", "use UUIDs, or ROCm 6.4 or later")
    devices = sorted(devices, key=lambda named: ranks[named[0]] or 0)
    rocr = environment.get("ROCR_VISIBLE_DEVICES")
    hip = environment.get("HIP_VISIBLE_DEVICES")
    asked = environment.get("CUDA_VISIBLE_DEVICES") if hip is None else hip
    if rocr is not None and hip is not None and hip.count(",") > rocr.count(","):
        return unknown(
            "torch refuses a HIP_VISIBLE_DEVICES with more entries than ROCR_VISIBLE_DEVICES",
            "set one of the two",
        )
    left = list(devices)
    if rocr is not None:
        names = dict(left)
        left = [(key, names[key]) for key in _by_token(rocr, left)]
    if asked is None:
        return Visible(devices=tuple(key for key, _ in left))
    if asked.startswith("GPU-"):
        return Visible(devices=by_uuid(asked, left))
    return Visible(devices=by_index(indices(asked), [key for key, _ in left]))


def _by_token(text: str, devices: Sequence[Named]) -> list[str]:
    """ROCR's reading: indices and UUIDs may be mixed, and a repeated device ends the list."""
    found: list[str] = []
    for entry in (part.strip() for part in text.split(",")):
        if entry.startswith("GPU-"):
            key = named_by(entry, devices)
        else:
            index = int(entry) if entry.isdecimal() else len(devices)
            key = devices[index][0] if index < len(devices) else None
        if key is None or key in found:
            break
        found.append(key)
    return found
