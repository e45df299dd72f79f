"""What a history is made of and what is found in it, as types."""

__all__ = [
    "SCOPES",
    "ChangePoint",
    "Difference",
    "History",
    "Level",
    "LostCell",
    "Node",
    "NodeDifference",
    "Point",
    "Scope",
    "Series",
    "SilentNode",
]

from typing import Literal, get_args

import msgspec

Scope = Literal["all nodes", "some nodes", "one node", "only node"]
SCOPES: tuple[str, ...] = get_args(Scope)
"""Where a change was seen: on each of several nodes, on some, on one of several, or on the only
one that was measured before and after it.
"""


class Node(msgspec.Struct, frozen=True, kw_only=True, order=True, forbid_unknown_fields=True):
    """One device in one host. ``device_id``: its UUID or, without one, its PCI address."""

    host: str
    device: str
    device_id: str = ""

    @property
    def name(self) -> str:
        """``host/device/id``, without what is not known."""
        return "/".join(part for part in (self.host, self.device, self.device_id) if part)


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figure in the metric's unit, over ``replicates`` that are valid.

    ``low``, ``high``: 95 % interval; ``None`` below three replicates, and for bytes. ``started``:
    ISO 8601, UTC. ``settings``: provenance, flat: field -> value. ``clocks_mhz``: medians.
    """

    run: str
    started: str
    commit: str
    value: float
    low: float | None = None
    high: float | None = None
    replicates: int
    settings: dict[str, str] = {}
    clocks_mhz: dict[str, float] = {}


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one cell on one node, in order of time.

    ``metric`` is a key of `alignmeter.analysis.metrics.METRICS`. ``kind``: what the figure is a
    figure of, such as the source and scope of energy. ``invalid``: replicates left out because
    their figure is invalid.
    """

    cell_id: str
    metric: str
    kind: str
    node: Node
    points: list[Point]
    invalid: int = 0


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """The figure between two changes, over ``runs``, in the metric's unit.

    ``low``, ``high``: 95 % interval over runs; ``None`` below three, and for bytes.
    """

    value: float
    low: float | None = None
    high: float | None = None
    runs: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A field of the provenance that differs between two runs; ``none`` where it is not there."""

    field: str
    before: str
    after: str


class ChangePoint(msgspec.Struct, frozen=True, kw_only=True):
    """From ``run`` on the level is another one; ``run_before`` is the last with the old level.

    ``ratio`` is after / before with its 95 % interval; ``effect_percent`` is 100 (ratio - 1).
    ``p_value``: of the permutation test, an upper bound; ``None`` for bytes, which are exact.
    ``differences``: what differs in the provenance of the two runs. ``nodes_watching``: the nodes
    that were measured before and after, this one among them; ``nodes_changed``: those that changed
    alike.
    """

    cell_id: str
    metric: str
    kind: str
    node: Node
    run: str
    started: str
    commit: str
    run_before: str
    started_before: str
    commit_before: str
    before: Level
    after: Level
    ratio: float
    low: float
    high: float
    effect_percent: float
    verdict: Literal["regressed", "improved"]
    p_value: float | None
    differences: list[Difference]
    scope: Scope = "only node"
    nodes_changed: list[str] = []
    nodes_watching: list[str] = []


class NodeDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Two nodes whose levels of a metric of one cell are apart; ``ratio`` is node / other.

    ``together``: both were measured at one time, so no change. Otherwise the one followed the
    other, and nobody can tell the node from the software. ``differences``: what differs in the
    provenance of ``other`` and ``node``, beside the device itself.
    """

    cell_id: str
    metric: str
    kind: str
    node: Node
    other: Node
    level: Level
    other_level: Level
    ratio: float
    low: float
    high: float
    effect_percent: float
    together: bool
    differences: list[Difference]


class LostCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell without a figure in ``run``, the newest of its node, that had one until ``last_run``:
    it failed, was invalid or was not asked for.
    """

    cell_id: str
    node: Node
    run: str
    last_run: str


class SilentNode(msgspec.Struct, frozen=True, kw_only=True):
    """A node that gave no run for long, while another did at ``newest_started``. ISO 8601, UTC."""

    node: Node
    last_run: str
    last_started: str
    newest_started: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. ``series``: how many; ``short``: those of them with fewer than
    ``least_runs``, too few to tell a change from noise. ``invalid``: metric -> replicates left out.
    ``minimum``: metric -> the smallest effect that counts, as a share of 1. ``false_alarms``: the
    largest expected share of changes that are none, over all series.
    """

    runs: int
    cells: int
    series: int
    short: int
    least_runs: int
    invalid: dict[str, int]
    minimum: dict[str, float]
    false_alarms: float
    nodes: list[Node]
    changes: list[ChangePoint]
    node_differences: list[NodeDifference]
    lost: list[LostCell] = []
    silent: list[SilentNode] = []
