"""What AMD SMI answers: a figure, or a refusal in words."""

__all__ = ["Refused", "ask", "refused"]

from dataclasses import dataclass
from typing import Any

STATUSES: dict[int, tuple[str, str | None]] = {
    1: ("invalid argument", None),
    2: ("not supported by this device or driver", None),
    3: ("not yet implemented by the library", None),
    4: ("a library could not be loaded", "install libdrm and libdrm_amdgpu"),
    6: ("libdrm reports an error", None),
    8: ("timed out", None),
    9: ("the driver asks to try again", None),
    10: ("no permission", "add the user to the groups render and video"),
    12: ("input/output error", None),
    14: ("a file of the driver cannot be read: is the device gone?", None),
    15: ("out of resources", None),
    17: ("a value out of bounds", None),
    18: ("initialization failed", "see `amd-smi list` for what fails"),
    20: ("a folder of the driver is missing", None),
    21: ("processes cannot talk to each other", None),
    30: ("the device is busy", None),
    31: ("no such device", None),
    32: ("the library is not initialized", None),
    34: ("the driver amdgpu is not loaded", "load it: modprobe amdgpu"),
    40: ("no data", None),
    43: ("the driver's data has an unknown form", "let the driver and ROCm be of one release"),
    52: ("a file of the driver is missing", None),
    4294967294: ("an error of the driver without a status of its own", None),
    4294967295: ("unknown error", None),
}
"""Status -> what it means, and what would help if something would. Source: amdsmi_status_t."""
NEVER_ANSWERED = (2, 3)
"""Such a figure does not come later either: it is not asked again."""


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that was not given. ``forever``: the device has no such thing."""

    words: str
    forever: bool = False
    remedy: str | None = None


def refused(function: str, status: int) -> Refused:
    """What a status other than success means."""
    words, remedy = STATUSES.get(status, (f"status {status}", None))
    return Refused(f"{function}: {words}", status in NEVER_ANSWERED, remedy)


def ask(smi: Any, function: str, *arguments: Any) -> Any:
    """What that function of the binding answers, or `Refused`: it never raises."""
    call = getattr(smi, function, None)
    if call is None:
        return Refused(f"this amdsmi has no {function}", forever=True)
    try:
        found = call(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever the binding raises is a reason, not a crash
        status = getattr(error, "err_code", None)
        if not isinstance(status, int):
            return Refused(f"{function}: {type(error).__name__}: {error}")
        return refused(function, status)
    # The binding's word for a figure of all ones; which functions say it grows with its version.
    return Refused(f"{function}: the driver says N/A") if found == "N/A" else found
