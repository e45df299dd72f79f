"""The answer in the terminal: delta, scaling, what is missing or invalid, repeatability."""

__all__ = ["summary_parts"]

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from alignmeter.analysis import delta
from alignmeter.analysis.answers import answers, newest
from alignmeter.analysis.bill import bills
from alignmeter.analysis.cost import cost_metric
from alignmeter.analysis.likeness import current, groups
from alignmeter.analysis.nights import last_night, nights
from alignmeter.analysis.no_delta import why_no_delta
from alignmeter.analysis.prices import Prices
from alignmeter.analysis.unmeasured import why_nothing
from alignmeter.cells.labels import spelled
from alignmeter.records.record import Record
from alignmeter.registry import DELTAS
from alignmeter.terminal.agreement import agreement_parts
from alignmeter.terminal.answers import answer_parts
from alignmeter.terminal.bill import bill_parts
from alignmeter.terminal.delta import delta_parts
from alignmeter.terminal.nights import night_parts
from alignmeter.terminal.ranks import rank_parts
from alignmeter.terminal.reasons import reason_parts
from alignmeter.terminal.scaling import scaling_parts
from alignmeter.terminal.tables import Paragraph, Part
from alignmeter.text import counted
from alignmeter.units import seconds_text


def summary_parts(records: Sequence[Record], prices: Prices | None = None) -> Iterator[Part]:
    """What is news, every pair with its kind of memory, and what was not measured or is invalid.

    With ``prices`` the answers have a line of costs.
    """
    counts = Counter(record.status for record in records)
    yield Paragraph("  ".join(f"{status} {count}" for status, count in sorted(counts.items())))
    for text in why_nothing(records):
        yield Paragraph(f"nothing was measured: {text}", "red", hang=2)
    cells = groups(records)
    pairs = delta.deltas(records, cells)
    yield from night_parts(last_night(nights(records)))
    yield from delta_parts(delta.newest(pairs))
    metrics = () if prices is None else (cost_metric(prices),)
    yield from answer_parts(newest(answers(cells, metrics)))
    yield from bill_parts(bills(cells))
    yield from scaling_parts(records, cells)
    yield from rank_parts(cells)
    yield from reason_parts(records)
    yield Paragraph("")
    yield from _isolation(records)
    yield from _warmup(records)
    yield from _repeatability([r for group in current(cells) for r in group.records])
    yield from agreement_parts(records)
    if not pairs:
        less, more = DELTAS[0]
        names = "-vs-".join(spelled("method", name) for name in (less, more))
        yield Paragraph(f"no {names} delta: {why_no_delta(records, DELTAS[0])}", hang=2)


def _isolation(records: Sequence[Record]) -> Iterator[Paragraph]:
    """What a process per replicate costs: the first worker of a round waits for the imports."""
    starts = sorted(r.timing.worker_start_s for r in records if r.timing.worker_start_s is not None)
    if len(starts) < 2:
        return
    median, slowest = seconds_text(statistics.median(starts)), seconds_text(starts[-1])
    yield Paragraph(
        f"isolation: a fresh process per replicate took {median} to start (median of "
        f"{len(starts)}; the slowest {slowest})",
        hang=2,
    )


def _warmup(records: Sequence[Record]) -> Iterator[Paragraph]:
    counts = sorted({len(r.timing.warmup_s) for r in records if r.status == "ok"})
    if counts:
        least, most = counts[0], counted(counts[-1], "step")
        steps = most if len(counts) == 1 else f"{least} to {most}"
        yield Paragraph(f"warm-up: {steps} per replicate, until they got no faster")


def _repeatability(records: Sequence[Record]) -> Iterator[Paragraph]:
    """In how many cells all replicates gave the same losses and the same peak bytes."""
    seen: dict[tuple[str, int, str], list[tuple[object, ...]]] = defaultdict(list)
    for r in records:
        if r.status == "ok":
            key = r.cell.id, r.seed, r.provenance.environment_digest
            seen[key].append((*r.numerics.losses, r.memory.allocated_peak_bytes))
    repeated = [results for results in seen.values() if len(results) > 1]
    if repeated:
        same = sum(len(set(results)) == 1 for results in repeated)
        cells = counted(len(repeated), "cell")
        yield Paragraph(f"repeatability: same losses and same bytes in {same} of {cells}")
