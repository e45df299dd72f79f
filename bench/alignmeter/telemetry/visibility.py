"""Which devices the visible-devices variables leave, in the order in which torch numbers them.

What the vendors' rules, each in its folder, have in common: pure functions on an environment and on
the devices that a library sees. Where the variables do not tell, the answer is a reason:
`matching.find_device` then finds a device by its UUID.

Source: ``_parse_visible_devices`` of torch.cuda (2.13), which is followed where the runtimes differ
from it.
"""

__all__ = [
    "Named",
    "Visible",
    "all_visible",
    "by_index",
    "by_uuid",
    "indices",
    "named_by",
    "unknown",
]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from alignmeter.telemetry.base import Identity

Named = tuple[str, Identity]
"""A telemetry's key and who that is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Visible:
    """Keys of the visible devices as torch numbers them, or why that cannot be known from outside.

    ``remedy``: what would make it known.
    """

    devices: tuple[str, ...] | None
    reason: str | None = None
    remedy: str | None = None


def all_visible(_: Mapping[str, str], devices: Sequence[Named]) -> Visible:
    """All of them: where no variable hides any."""
    return Visible(devices=tuple(key for key, _ in devices))


def unknown(reason: str, remedy: str) -> Visible:
    """Not known from outside."""
    return Visible(devices=None, reason=reason, remedy=remedy)


def indices(text: str) -> list[int]:
    """The indices before the first entry that is none; nothing if one comes twice.

    An entry counts by the number it starts with (``1gpu`` is 1), as C's strtoul has it.
    """
    found: list[int] = []
    for entry in text.split(","):
        match = re.match(r"\+?(\d+)", entry.strip(), re.ASCII)
        if match is None:
            break
        if int(match[1]) in found:
            return []
        found.append(int(match[1]))
    return found


def by_index(numbers: Sequence[int], keys: Sequence[str]) -> tuple[str, ...]:
    """The devices before the first index that is out of range."""
    found = []
    for index in numbers:
        if index >= len(keys):
            break
        found.append(keys[index])
    return tuple(found)


def by_uuid(text: str, devices: Sequence[Named]) -> tuple[str, ...]:
    """The devices before the first entry that names none or several; nothing if one comes twice."""
    prefix = text[:4]
    entries = list(takewhile(lambda entry: entry.startswith(prefix), text.split(",")))
    named = [named_by(entry, devices) for entry in entries]
    found = list(takewhile(lambda key: key is not None, named))
    if len(set(entries)) < len(entries) or len(set(found)) < len(found):
        return ()
    return tuple(key for key in found if key is not None)


def named_by(entry: str, devices: Sequence[Named]) -> str | None:
    """The one device whose UUID starts so."""
    found = [key for key, identity in devices if (identity.uuid or "").startswith(entry)]
    return found[0] if len(found) == 1 else None
