"""What a record says of each device of a step of several, and of what passes between them."""

__all__ = ["Collective", "Communication", "Rank", "RankStatus"]

from typing import Literal

import msgspec

from alignmeter.records.reasons import Reason

RankStatus = Literal["ok", "oom", "timeout", "crashed", "ended"]


class Rank(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rank. ``status``: ``ended`` where another one's failure ended it.

    ``ledger`` rows sum to ``peak_bytes``, both of the memory step. ``median_s``: of its own timed
    steps, waits for other ranks among them. ``energy_j``: of its device, per step; ranks that share
    a device have the same. ``last_phase``: which it had begun last when the replicate failed.
    """

    rank: int
    node: str = ""
    device: str = ""
    status: RankStatus = "ok"
    peak_bytes: int | None = None
    reserved_bytes: int | None = None
    ledger: dict[str, int] = {}
    median_s: float | None = None
    energy_j: float | None = None
    last_phase: str | None = None


class Collective(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Collectives of one kind in one step, of one rank.

    ``bytes``: of the whole tensors that they gather or reduce. ``total_s``: the time that they
    took; ``exposed_s``: the part of it in which the rank did nothing else. ``bus_bytes_per_s``:
    what the devices reach between them in such collectives (nccl-tests' definition).
    """

    calls: int
    bytes: int
    total_s: float | None = None
    exposed_s: float | None = None
    bus_bytes_per_s: float | None = None


class Communication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kind -> what a step does of it. ``source``: where the seconds are from; ``reason``: why there
    are none. ``bandwidth_source``: where the bandwidths are from; empty where there are none.
    """

    kinds: dict[str, Collective] = {}
    source: str = ""
    reason: Reason | None = None
    bandwidth_source: str = ""

    @property
    def bytes(self) -> int:
        """Of all kinds together."""
        return sum(kind.bytes for kind in self.kinds.values())

    @property
    def exposed_s(self) -> float | None:
        """Of all kinds together; ``None`` where one has none."""
        found = [kind.exposed_s for kind in self.kinds.values()]
        known = [seconds for seconds in found if seconds is not None]
        return sum(known) if found and len(known) == len(found) else None
