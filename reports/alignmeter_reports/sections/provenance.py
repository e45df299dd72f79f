"""Where the records come from: hosts, devices, software and commands."""

__all__ = ["Machine", "machines"]

from collections.abc import Iterable
from dataclasses import dataclass

from alignmeter.records.record import Provenance

_MOST_COMMANDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One device of one host in one environment, and the commands that were run there."""

    place: Provenance
    commands: list[str]


def machines(places: Iterable[Provenance]) -> list[Machine]:
    """One per host, device and environment, in the order of ``places``."""
    by_place: dict[tuple[str, str, str], tuple[Provenance, dict[str, None]]] = {}
    for place in places:
        key = place.host, place.device, place.environment_digest
        _, commands = by_place.setdefault(key, (place, {}))
        if place.command:
            commands[place.command] = None
    return [
        Machine(place=place, commands=list(commands)[:_MOST_COMMANDS])
        for place, commands in by_place.values()
    ]
