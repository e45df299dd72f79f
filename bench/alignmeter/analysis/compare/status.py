"""What is said of a whole cell: lost, gained, refused, or with numbers that disagree."""

__all__ = ["cell_rows", "differing_text"]

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from alignmeter.analysis.compare.pairs import Compared, Pair
from alignmeter.analysis.compare.result import CellComparison, Verdict
from alignmeter.records.record import Record
from alignmeter.text import shortened

_LONGEST = 60
"""Characters of a value in a sentence."""


def differing_text(differing: Mapping[str, tuple[str, str]]) -> str:
    """``seq_len (64 in BASE, 128 in NEW)``; digests only where they are all that differs."""
    told = {n: pair for n, pair in differing.items() if not n.endswith("_digest")} or differing
    shown = {name: [shortened(value, _LONGEST) for value in pair] for name, pair in told.items()}
    return ", ".join(f"{name} ({a} in BASE, {b} in NEW)" for name, (a, b) in shown.items())


def cell_rows(pair: Pair) -> Iterable[CellComparison]:
    """At most one row for the status and one for the numerics: what is as it was has none."""
    row = _status(pair)
    if row is not None:
        yield row
    if pair.base is not None and pair.new is not None and not pair.differing:
        row = _numerics(pair.base, pair.new)
        if row is not None:
            yield row


def _statuses(group: Compared | None) -> Counter[str]:
    return Counter(record.status for record in group.records) if group else Counter()


def _status(pair: Pair) -> CellComparison | None:
    group = pair.base or pair.new
    if group is None:
        return None
    was, now = _statuses(pair.base), _statuses(pair.new)
    row = CellComparison(
        cell_id=group.cell.id, device=group.device, metric="status", verdict="not available"
    )
    if pair.base is not None and pair.new is not None and pair.differing:
        text = f"unlike: {differing_text(pair.differing)}"
        return _said(row, "refused", text, lost=bool(was["ok"]))
    if not was["ok"]:
        return _never_ok(row, pair, was, now)
    worse = {status: count for status, count in now.items() if status not in was}
    if now["ok"] and not worse:
        return None
    return _said(row, "lost", _lost_text(pair, now, worse), lost=True)


def _never_ok(
    row: CellComparison, pair: Pair, was: Counter[str], now: Counter[str]
) -> CellComparison:
    before = "not in BASE" if pair.base is None else f"{_worst(was)} in BASE"
    if now["ok"]:
        return _said(row, "gained", f"{before}, ok in NEW", lost=False)
    after = "missing" if pair.new is None else _worst(now)
    return _said(row, "not available", f"{before}, {after} in NEW", lost=False)


def _worst(statuses: Counter[str]) -> str:
    return statuses.most_common(1)[0][0]


def _lost_text(pair: Pair, now: Counter[str], worse: Mapping[str, int]) -> str:
    if pair.new is None:
        text = "ok in BASE, missing in NEW"
        if pair.nearest:
            text += f"; {pair.nearest} there differs in {differing_text(pair.differing)}"
        return text
    failed = worse or {status: count for status, count in now.items() if status != "ok"}
    status, count = max(failed.items(), key=lambda item: item[1])
    reason = next((r.reason.text for r in pair.new.records if r.status == status and r.reason), "")
    total = sum(now.values())
    which = "" if count == total else f" in {count} of {total} replicates"
    return f"ok in BASE, {status} in NEW{which}" + (f": {reason}" if reason else "")


def _said(row: CellComparison, verdict: Verdict, reason: str, *, lost: bool) -> CellComparison:
    return msgspec.structs.replace(row, verdict=verdict, reason=reason, lost=lost)


def _numerics(base: Compared, new: Compared) -> CellComparison | None:
    """Numbers that are wrong make every figure invalid, so one replicate is enough."""
    was, now = _wrong(base.records), _wrong(new.records)
    row = CellComparison(
        cell_id=base.cell.id, device=base.device, metric="numerics", verdict="invalid"
    )
    if now:
        return _said(row, "invalid", f"NEW: {now}", lost=not was)
    return _said(row, "gained", f"BASE: {was}; NEW: none of it", lost=False) if was else None


def _wrong(records: Iterable[Record]) -> str:
    """``reference_disagrees: the text``: the first reason of the first replicate that has one."""
    for record in records:
        verdict = record.validity.get("numerics")
        if record.status == "ok" and verdict is not None and not verdict.ok:
            return "; ".join(f"{r.code}: {r.text}" for r in verdict.reasons[:1]) or "not judged"
    return ""
