"""The DPO-vs-PPO memory delta: pairing, figure and decomposition, for terminal and report alike."""

__all__ = ["PARTS", "Delta", "deltas"]

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from alignmeter.cells.cell import Cell
from alignmeter.records.record import Record

PARTS: dict[str, tuple[str, ...]] = {
    "resident weights": (
        "policy_weights",
        "ref_weights",
        "reward_weights",
        "value_weights",
        "quantisation_state",
    ),
    "trainable state": ("adapters", "gradients", "optimizer_state"),
    "activations and rollout": (
        "rollout_cache",
        "activations",
        "workspace",
        "batch",
        "unattributed",
    ),
}
"""Part of the delta -> the ledger rows it sums. Together they are the whole ledger."""

_OF_METHOD = ("method", "ppo_topology", "ppo_backward", "ppo_epochs", "ppo_minibatches")


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """peak(PPO) - peak(DPO) over one full step, every other axis held equal.

    ``parts`` maps each of `PARTS` to its bytes and sums to ``bytes``; it is empty where one side
    has no ledger. Peaks are the maximum over replicates, all on one ``device``.
    """

    dpo: Cell
    ppo: Cell
    device: str
    dpo_peak_bytes: int
    ppo_peak_bytes: int
    kind: str
    parts: dict[str, int]
    replicates: int

    @property
    def bytes(self) -> int:
        """PPO's peak above DPO's; negative where DPO needs more."""
        return self.ppo_peak_bytes - self.dpo_peak_bytes

    @property
    def percent(self) -> float:
        """Per cent of PPO's peak that DPO saves."""
        return self.share(self.bytes)

    def share(self, count: int) -> float:
        """``count`` bytes in per cent of PPO's peak."""
        return 100 * count / self.ppo_peak_bytes


def _partner_key(record: Record) -> tuple[object, ...]:
    axes = {k: v for k, v in record.cell.axes().items() if k not in (*_OF_METHOD, "data")}
    where = record.provenance.device, record.provenance.environment_digest
    return (*axes.items(), record.cell.data_digest, record.cell.model_digest, *where)


def _parts(dpo: Record, ppo: Record) -> dict[str, int]:
    if not dpo.ledger or not ppo.ledger:
        return {}
    return {
        part: sum(
            ppo.ledger.get(f"{owner}_bytes", 0) - dpo.ledger.get(f"{owner}_bytes", 0)
            for owner in owners
        )
        for part, owners in PARTS.items()
    }


def _peak(record: Record) -> int:
    return record.memory.allocated_peak_bytes or 0


def deltas(records: Iterable[Record]) -> list[Delta]:
    """One row per PPO cell that has a DPO partner, both measured (`ok`, memory valid)."""
    groups: dict[tuple[object, ...], dict[Cell, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in records:
        verdict = record.validity.get("memory")
        if record.status == "ok" and _peak(record) and verdict is not None and verdict.ok:
            groups[_partner_key(record)][record.cell].append(record)
    rows: list[Delta] = []
    for group in groups.values():
        dpo_cells = [cell for cell in group if cell.method == "dpo"]
        ppo_cells = [cell for cell in group if cell.method == "ppo"]
        rows += [_delta(group[d], group[p]) for d in dpo_cells for p in ppo_cells]
    return sorted(rows, key=lambda row: row.ppo.id)


def _delta(dpo_records: list[Record], ppo_records: list[Record]) -> Delta:
    dpo, ppo = max(dpo_records, key=_peak), max(ppo_records, key=_peak)
    return Delta(
        dpo=dpo.cell,
        ppo=ppo.cell,
        device=ppo.provenance.device,
        dpo_peak_bytes=_peak(dpo),
        ppo_peak_bytes=_peak(ppo),
        kind=ppo.memory.kind,
        parts=_parts(dpo, ppo),
        replicates=min(len(dpo_records), len(ppo_records)),
    )
