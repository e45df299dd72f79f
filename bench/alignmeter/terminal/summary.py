"""The answer in the terminal, in lines of at most 80 columns: delta, scaling, repeatability."""

__all__ = ["agreement_lines", "agreement_sentences", "summary_lines"]

import statistics
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from alignmeter.analysis.delta import Delta, deltas
from alignmeter.analysis.device_agreement import CrossCheck, crosschecks
from alignmeter.analysis.scaling import (
    STEP_MEMORY,
    STEP_TIME,
    Fit,
    Ladder,
    crossings,
    exponent_text,
    fits,
    ladders,
)
from alignmeter.records.reasons import REASONS
from alignmeter.records.record import Reason, Record
from alignmeter.text import plain
from alignmeter.units import bytes_text, seconds_text

_FORMAT = "{:<12} {:<6} {:<20} {:>9} {:>9} {:>9} {:>6}"
_COLUMNS = 80
_SCALING = "{:<4.4} {:<6.6} {:>10.10} {:>11.11} {:>20.20} {:>11.11} {:>11.11}"
_MIXERS = ("attention", "scan")


def summary_lines(records: Sequence[Record]) -> list[str]:
    """A table of every pair, what kind of memory it is, and what was not measured or not ranked."""
    counts = Counter(record.status for record in records)
    lines = ["  ".join(f"{status} {count}" for status, count in sorted(counts.items()))]
    rows = deltas(records)
    for kind in sorted({row.kind for row in rows}):
        lines += ["", *_table([row for row in rows if row.kind == kind], kind)]
    lines += [*_scaling(records), *_not_ranked(records), ""]
    lines += [*_isolation(records), *_warmup(records), *_repeatability(records)]
    lines += agreement_lines(records)
    if not rows:
        lines.append("no DPO-vs-PPO delta: it needs a dpo and a ppo cell alike in all else")
    return lines


def _scaling(records: Sequence[Record]) -> list[str]:
    """Exponents over sequence length, and from where on a state-space model is cheaper."""
    found = ladders(records)
    lines = []
    for head in dict.fromkeys((ladder.device, ladder.settings) for ladder in found):
        mine = [ladder for ladder in found if (ladder.device, ladder.settings) == head]
        lines += [
            "",
            "Exponents k of T, the tokens per sequence: cost grows as T^k",
            f"({', '.join(head)})"[:_COLUMNS],
            _SCALING.format("step", "model", "T", "time", "its mixer", "its rest", "peak memory"),
            *(_exponents(ladder) for ladder in mine),
            *_crossing_lines(mine),
        ]
    if any(codes for ladder in found for codes in ladder.spoiled.values()):
        lines.append("*: some of these figures must not be ranked; the report says why.")
    return lines


def _exponents(ladder: Ladder) -> str:
    found = fits(ladder)
    if not found:
        return f"{ladder.cell.method} {ladder.cell.architecture}: no replicate has all lengths"
    by_quantity = {fit.quantity: fit for fit in found}
    operators = {q.name: fit for q, fit in by_quantity.items() if q.part == "operators"}
    mixer = next((f"{name} {_exponent(operators[name])}" for name in _MIXERS if name in operators),
                 "-")  # fmt: skip
    time, memory = ("*" if ladder.spoiled[metric] else "" for metric in ("time", "memory"))
    return _SCALING.format(
        ladder.cell.method,
        ladder.cell.architecture,
        f"{found[0].lengths[0]}-{found[0].lengths[-1]}",
        _exponent(by_quantity.get(STEP_TIME)) + time,
        mixer,
        _exponent(operators.get("rest")),
        _exponent(by_quantity.get(STEP_MEMORY)) + memory,
    )


def _exponent(fit: Fit | None) -> str:
    return "-" if fit is None else exponent_text(fit.exponent)


def _crossing_lines(found: Sequence[Ladder]) -> list[str]:
    lines: list[str] = []
    for row in crossings(found):
        what = f"{row.other.cell.method}: {row.other.cell.architecture} is cheaper in {row.metric}"
        star = "*" if row.spoiled else ""
        lines += textwrap.wrap(f"{what}: {row.text}{star}", _COLUMNS, subsequent_indent="  ")
    return lines


def _isolation(records: Sequence[Record]) -> list[str]:
    """What a process per replicate costs: the first worker of a round waits for the imports."""
    starts = sorted(r.timing.worker_start_s for r in records if r.timing.worker_start_s is not None)
    if len(starts) < 2:
        return []
    median = statistics.median(starts)
    return [
        f"isolation: a fresh process per replicate took {seconds_text(median)} to start",
        f"(median of {len(starts)}; the slowest {seconds_text(starts[-1])}, with its imports)",
    ]


def _warmup(records: Sequence[Record]) -> list[str]:
    counts = sorted({len(r.timing.warmup_s) for r in records if r.status == "ok"})
    if not counts:
        return []
    steps = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    return [f"warm-up: {steps} steps per replicate, until they got no faster"]


def _repeatability(records: Sequence[Record]) -> list[str]:
    """In how many cells all replicates gave the same losses and the same peak bytes."""
    seen: dict[tuple[str, int, str], list[tuple[object, ...]]] = defaultdict(list)
    for r in records:
        if r.status == "ok":
            key = r.cell.id, r.seed, r.provenance.environment_digest
            seen[key].append((*r.numerics.losses, r.memory.allocated_peak_bytes))
    repeated = [results for results in seen.values() if len(results) > 1]
    if not repeated:
        return []
    same = sum(len(set(results)) == 1 for results in repeated)
    return [f"repeatability: same losses and same bytes in {same} of {len(repeated)} cells"]


def agreement_lines(records: Iterable[Record]) -> list[str]:
    """`agreement_sentences` for a terminal: the cells indented below the first."""
    sentences = agreement_sentences(records)
    return sentences[:1] + [line for said in sentences[1:] for line in _wrapped(said, "  ")]


def agreement_sentences(records: Iterable[Record]) -> list[str]:
    """Whether cells that ran on two devices computed the same on both; none without such.

    First the counts, then the widest of those that agree and each that does not.
    """
    checks = crosschecks(records)
    if not checks:
        return []
    counts = Counter(check.word for check in checks)
    said = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    sentences = [f"numbers between devices: {said}"]
    agreeing = [check for check in checks if check.agrees]
    if agreeing:
        widest = max(agreeing, key=lambda check: check.widest.share)
        sentences.append(f"the farthest apart that agree, {_cell_text(widest)}")
    return sentences + [_cell_text(check) for check in checks if not check.agrees]


def _cell_text(check: CrossCheck) -> str:
    return plain(f"{check.one.cell.id}: {check.text}")


def _not_ranked(records: Sequence[Record]) -> list[str]:
    """What is missing or must not be ranked: how often, what the code means and what helps."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        counts.update({(what, reason.code) for what, reason in _reasons(record)})
    lines = ["", "not measured, or not to be ranked:"] if counts else []
    for (what, code), count in sorted(counts.items()):
        text = f"{what}: {code} in {count} of {len(records)} replicates"
        lines += _wrapped(plain(text), "  ")
        known = REASONS.get(code)
        if known is not None:
            lines += _wrapped(f"{known.meaning}; what helps: {known.remedy}", "    ")
    return lines


def _reasons(record: Record) -> Iterable[tuple[str, Reason]]:
    """Each with the metric that it spoils, or with the status."""
    if record.status != "ok":
        return [(record.status, record.reason)] if record.reason else []
    return [(metric, r) for metric, verdict in record.validity.items() for r in verdict.reasons]


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )


def _table(rows: Sequence[Delta], kind: str) -> list[str]:
    lines = [
        f"DPO vs PPO: peak memory of one step ({kind})",
        _FORMAT.format("architecture", "peft", "PPO layout", "DPO", "PPO", "delta", "saved"),
    ]
    for row in rows:
        layout = f"{row.versus.ppo_topology}, {row.versus.ppo_backward}"
        lines.append(
            _FORMAT.format(
                row.versus.architecture,
                row.versus.peft,
                layout,
                bytes_text(row.peak_bytes),
                bytes_text(row.versus_peak_bytes),
                bytes_text(row.bytes),
                f"{row.percent:.1f} %",
            )
        )
    lines.append("saved: what DPO saves of PPO's peak; negative where DPO needs more.")
    if kind != "vram":
        lines.append("CPU figures are bytes of tensors. They say nothing about VRAM.")
    return lines
