"""What people repeat, from ``claims.toml``, and the functions that look for it in records."""

__all__ = ["FINDERS", "claims", "findings"]

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from typing import Any

from alignmeter.analysis.claims import growth, ratios, sharding
from alignmeter.analysis.claims.evidence import Claim, Evidence, Finding, Material, judged
from alignmeter.analysis.claims.scale import of_its_scale, sizes
from alignmeter.analysis.delta import Delta, deltas
from alignmeter.analysis.likeness import Group, groups
from alignmeter.analysis.scaling import fits, ladders
from alignmeter.records.record import Record

FINDERS: Mapping[str, Callable[..., list[Evidence]]] = {
    "agrees_on_state_spaces": growth.agrees_on_state_spaces,
    "divides_memory": sharding.divides_memory,
    "fits_where_full_does_not": ratios.fits_where_full_does_not,
    "grows": growth.grows,
    "near_parity": ratios.near_parity,
    "saves_memory": ratios.saves_memory,
    "takes_less": ratios.takes_less,
    "trains_a_share": ratios.trains_a_share,
}
"""Name in ``claims.toml`` -> what finds the evidence."""


def _claim(
    name: str, text: str, rule: str, find: str, scale: float = 0.0, **arguments: Any
) -> Claim:
    finder = partial(FINDERS[find], **arguments)
    return Claim(name=name, text=text, rule=rule, find=finder, scale=scale)


@cache
def claims() -> tuple[Claim, ...]:
    """All of them, in the order of the file."""
    data = (resources.files("alignmeter.analysis.claims") / "claims.toml").read_text("utf-8")
    return tuple(_claim(name, **row) for name, row in tomllib.loads(data).items())


def findings(
    records: Sequence[Record],
    found: Sequence[Group] | None = None,
    pairs: Sequence[Delta] | None = None,
) -> list[Finding]:
    """One per claim, in the order of the table.

    ``found``, ``pairs``: what `groups` and `deltas` make of the records, if that is known.
    """
    known = groups(records) if found is None else found
    material = Material(
        records=records,
        groups=known,
        deltas=deltas(records, known) if pairs is None else pairs,
        ladders=[(ladder, fits(ladder)) for ladder in ladders(records, known)],
    )
    large = sizes(known)
    return [judged(c, of_its_scale(c, c.find(material), large)) for c in claims()]
