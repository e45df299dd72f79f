"""Where the records come from: hosts, devices, software and commands."""

__all__ = ["Machine", "machines"]

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from alignmeter.analysis.distinctions import distinctions
from alignmeter.analysis.likeness import place_at
from alignmeter.records.record import Provenance

_MOST_COMMANDS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One device of one host in one environment, and the commands that were run there.

    ``title``: names both, and what in its software no other one of them has.
    """

    title: str
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
    titles = _titles([place for place, _ in by_place.values()])
    return [
        Machine(title=title, place=place, commands=list(commands)[:_MOST_COMMANDS])
        for title, (place, commands) in zip(titles, by_place.values(), strict=True)
    ]


def _titles(places: Sequence[Provenance]) -> list[str]:
    """Device and host; with what differs where several have both, as rows of the tables say it."""
    alike: dict[str, list[int]] = defaultdict(list)
    for k, place in enumerate(places):
        alike[f"{place.device} on {place.host}"].append(k)
    found = [""] * len(places)
    for title, ks in alike.items():
        mine = [places[k] for k in ks]
        for k, text in zip(ks, distinctions([place_at(p) for p in mine], mine), strict=True):
            found[k] = f"{title} ({text})" if text else title
    return found
