"""The HTML page: what the template is given."""

__all__ = ["render_page"]

from collections import Counter
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alignmeter import __version__
from alignmeter.axes import AXES
from alignmeter.cell import Cell
from alignmeter.delta import PARTS, Delta, deltas
from alignmeter.errors import REASONS
from alignmeter.folder import Loaded
from alignmeter.record import OWNERS, Provenance, Record
from alignmeter.registry import ACCELERATORS
from alignmeter.statistics import Estimate
from alignmeter.units import MIB, bytes_text, seconds_text
from alignmeter_reports.cells import CellRow, cell_rows, layout
from alignmeter_reports.charts import Bar, stacked_bars
from alignmeter_reports.portability import portability_views
from alignmeter_reports.scaling import scaling_views

_LONGEST = 300
"""Characters of a text cell that the page shows; records may hold anything."""
_MOST_SENTENCES = 12
_PHASES = (
    "ref_precompute", "rollout", "scoring", "ref_forward", "forward", "backward", "optimizer",
)  # fmt: skip
"""The order of a step; a phase of another name comes after them."""
_LAYOUTS = tuple(
    f"{topology}, {backward}"
    for topology in AXES["ppo_topology"].choices
    for backward in AXES["ppo_backward"].choices
)


def _short(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= _LONGEST else whole[: _LONGEST - 1] + "…"


def _interval(time: Estimate) -> str:
    if time.low is None or time.high is None:
        return "interval needs 3 replicates"
    return f"{seconds_text(time.low)} to {seconds_text(time.high)}"


def render_page(loaded: Loaded, title: str) -> str:
    """The whole page as text; equal records give equal text."""
    environment = Environment(
        loader=PackageLoader("alignmeter_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "bytes": bytes_text, "seconds": seconds_text, "short": _short, "interval": _interval,
    }  # fmt: skip
    records = sorted(loaded.records, key=lambda r: (r.cell.id, r.replicate))
    rows, found = cell_rows(records), deltas(records)
    return environment.get_template("report.html.j2").render(
        title=title,
        version=__version__,
        rows=rows,
        layout=layout,
        deltas=found,
        sentences=_sentences(found),
        parts=list(PARTS),
        unmeasured=_unmeasured_layouts(records),
        ledger_chart=_ledger_chart(records, found),
        phase_chart=_phase_chart(rows),
        statuses=sorted(Counter(record.status for record in records).items()),
        failed=[record for record in records if record.status != "ok"],
        refused=loaded.refused,
        reasons=REASONS,
        machines=_machines(records),
        kinds=sorted({record.memory.kind for record in records}),
        absent=[name for name in ACCELERATORS if name not in _measured(records)],
        portability=portability_views(loaded.portability),
        scaling=scaling_views(records),
        started=sorted(r.provenance.started for r in records if r.provenance.started),
    )


def _measured(records: Sequence[Record]) -> set[str]:
    return {record.cell.accelerator for record in records if record.status == "ok"}


def _sentences(found: Sequence[Delta]) -> list[str]:
    """One per delta; of many, the range within each architecture."""
    if len(found) <= _MOST_SENTENCES:
        return [_sentence(delta) for delta in found]
    sentences = []
    for name in dict.fromkeys(delta.ppo.architecture for delta in found):
        mine = sorted((d for d in found if d.ppo.architecture == name), key=lambda d: d.percent)
        least, most = (
            f"{d.percent:.1f} % ({d.ppo.peft}, {layout(d.ppo)})" for d in (mine[0], mine[-1])
        )
        sentences.append(
            f"{name}: over {len(mine)} pairs DPO saves from {least} to {most} of PPO's peak."
        )
    return sentences


def _sentence(delta: Delta) -> str:
    what = f"{delta.ppo.architecture}, {delta.ppo.peft}, {layout(delta.ppo)}"
    if delta.bytes < 0:
        return f"{what}: DPO needs {bytes_text(-delta.bytes)} more than PPO."
    return f"{what}: DPO saves {bytes_text(delta.bytes)}, {delta.percent:.1f} % of PPO's peak."


def _unmeasured_layouts(records: Sequence[Record]) -> list[str]:
    measured = {layout(r.cell) for r in records if r.status == "ok" and r.cell.method == "ppo"}
    return [name for name in _LAYOUTS if name not in measured]


def _ledger_chart(records: Sequence[Record], found: Sequence[Delta]) -> Markup:
    ledgers = {record.cell: record.ledger for record in records if record.ledger}
    bars, seen = [], set()
    several = len({delta.ppo.seq_len for delta in found}) > 1
    for delta in found:
        for cell in (delta.dpo, delta.ppo):
            if cell not in seen and cell in ledgers:
                seen.add(cell)
                label = _bar_label(cell, several_lengths=several)
                bars.append(Bar(label=label, parts=_ledger_parts(ledgers[cell])))
    if not bars:
        return Markup()
    title = "Bytes at the peak of one step by owner, DPO beside PPO"
    return _as_markup(stacked_bars(bars, title=title, unit="MiB at the peak of one step"))


def _bar_label(cell: Cell, *, several_lengths: bool) -> str:
    length = f" T={cell.seq_len}" if several_lengths else ""
    tail = f" ({layout(cell)})" if cell.method == "ppo" else ""
    return f"{cell.architecture} {cell.peft} {cell.method.upper()}{length}{tail}"


def _ledger_parts(ledger: dict[str, int]) -> dict[str, float]:
    """MiB by owner, the small ones together as ``other``."""
    small = ("quantisation_state", "rollout_cache", "workspace", "batch", "unattributed")
    parts = {
        owner.replace("_", " "): ledger.get(f"{owner}_bytes", 0) / MIB
        for owner in OWNERS
        if owner not in small
    }
    parts["other"] = sum(ledger.get(f"{owner}_bytes", 0) for owner in small) / MIB
    return parts


def _phase_chart(rows: Sequence[CellRow]) -> Markup:
    found = dict.fromkeys(name for row in rows for name in row.phases_s)
    order = [*(name for name in _PHASES if name in found), *(n for n in found if n not in _PHASES)]
    several = len({row.cell.seq_len for row in rows}) > 1
    bars = [
        Bar(
            label=_bar_label(r.cell, several_lengths=several),
            parts={name: 1e3 * r.phases_s.get(name, 0.0) for name in order},
        )
        for r in rows
        if r.phases_s
    ]
    if not bars:
        return Markup()
    return _as_markup(stacked_bars(bars, title="Time of each phase of a step", unit="ms per step"))


def _as_markup(svg: str) -> Markup:
    # matplotlib writes the SVG and escapes the labels; nothing of a record gets here unescaped.
    return Markup(svg)  # noqa: S704


def _machines(records: Sequence[Record]) -> list[tuple[Provenance, list[str]]]:
    """One provenance per host, device and environment, with the commands that were run there."""
    found: dict[tuple[str, str, str], tuple[Provenance, list[str]]] = {}
    for record in records:
        p = record.provenance
        _, commands = found.setdefault((p.host, p.device, p.environment_digest), (p, []))
        if p.command and p.command not in commands:
            commands.append(p.command)
    return list(found.values())
