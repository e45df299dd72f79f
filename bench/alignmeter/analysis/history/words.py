"""Changes in words. Records are untrusted, so names are made plain here."""

__all__ = [
    "absences_text",
    "differences_text",
    "head_text",
    "node_text",
    "notes_text",
    "others_text",
    "scope_text",
    "summary_text",
]

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from alignmeter.analysis.history.result import ChangePoint, Difference, History, Node
from alignmeter.text import counted, listed, plain, shortened

_LONGEST = 40
"""Characters of a value."""
_SHOWN = 20
"""Differences of one run that are listed."""
_COMMIT = 12
"""Digits of a commit."""


def summary_text(found: History) -> str:
    """One sentence: how much was looked at, and whether anything changed."""
    what = f"{found.series} series of {counted(found.cells, 'cell')} over {_runs(found.runs)}"
    if found.changes:
        return f"{counted(len(found.changes), 'change')} in {what}"
    short = f"too few runs to tell (needs {found.least_runs})"
    if found.short == found.series:
        return f"{short}: {what}"
    return f"no change in {what}" + (f"; {found.short} of them: {short}" if found.short else "")


def _runs(count: int) -> str:
    return counted(count, "run")


def head_text(change: ChangePoint, *, several: bool) -> str:
    """The run and its time; its node where the history has ``several``."""
    text = f"{_time(change.started)} run {change.run}"
    if several:
        text += f" on {node_text(change.node)}"
    return plain(f"{text}, after {change.run_before} of {_time(change.started_before)}")


def node_text(node: Node) -> str:
    """Host, device and the first digits of its id."""
    return plain(replace(node, device_id=node.device_id[:_COMMIT]).name)


def _time(started: str) -> str:
    return started[:16].replace("T", " ")


def differences_text(change: ChangePoint) -> Iterator[str]:
    """The commits, and what else differs between the two runs."""
    if change.commit == change.commit_before:
        yield f"same commit {_commit(change.commit)}" if change.commit else "no commit recorded"
    else:
        yield f"commit {_commit(change.commit_before)} -> {_commit(change.commit)}"
    text = others_text([d for d in change.differences if d.field != "commit"])
    yield f"differs: {text}" if text else "nothing else differs that is recorded"


def others_text(differences: Sequence[Difference]) -> str:
    """``torch 2.12.0 -> 2.13.0; driver 570.1 -> 580.2``."""
    return "; ".join(listed([plain(_difference(found)) for found in differences], _SHOWN))


def _difference(found: Difference) -> str:
    shorter = _commit if found.field == "commit" else _value
    return f"{shortened(found.field, _LONGEST)} {shorter(found.before)} -> {shorter(found.after)}"


def _commit(commit: str) -> str:
    """Twelve digits, and the digest of uncommitted changes behind them."""
    name, plus, changes = commit.partition("+")
    return plain(name[:_COMMIT] + plus + changes[:_COMMIT]) or "none"


def _value(text: str) -> str:
    return shortened(text, _LONGEST)


def scope_text(change: ChangePoint, *, several: bool) -> str:
    """Whether it is the node or the software; empty where the history has one node only."""
    if not several:
        return ""
    count = len(change.nodes_watching)
    if change.scope == "only node":
        return "node or software: no other node was measured before and after"
    if change.scope == "all nodes":
        return f"software: all {count} nodes that were measured before and after changed"
    if change.scope == "one node":
        others = counted(count - 1, "other")
        return f"this node only: {others}, measured before and after, did not change"
    calm = [name for name in change.nodes_watching if name not in change.nodes_changed]
    changed = f"{len(change.nodes_changed)} of {count} nodes changed"
    return plain(f"some nodes: {changed}, not {', '.join(calm)}")


def absences_text(found: History) -> Iterator[str]:
    """A sentence for each cell that was lost and each node that went silent."""
    several = len(found.nodes) > 1
    for lost in found.lost:
        where = f" on {node_text(lost.node)}" if several else ""
        text = f"lost: {lost.cell_id}{where} has no figure in run {lost.run}, the newest"
        yield plain(f"{text}; the last is of {lost.last_run}")
    for silent in found.silent:
        yield plain(
            f"silent: {node_text(silent.node)} gave no run since {silent.last_run} of "
            f"{_time(silent.last_started)}, others until {_time(silent.newest_started)}"
        )


def notes_text(found: History) -> Iterator[str]:
    """What was not looked at, and what the figures mean."""
    for metric, count in found.invalid.items():
        yield f"left out: {counted(count, 'replicate')} whose {metric} is invalid"
    if found.changes and found.short:
        yield f"too few runs to tell (needs {found.least_runs}) in {found.short} of the series"
    if found.changes:
        least = ", ".join(f"{name} {100 * share:.4g} %" for name, share in found.minimum.items())
        yield f"smallest effect that counts: {least}"
