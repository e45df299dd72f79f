"""Claims about several devices: what each of them needs of what one alone needs."""

__all__ = ["divides_memory"]

from alignmeter.analysis.claims.evidence import Evidence, Material, Stance
from alignmeter.analysis.claims.ratios import ON_CPU
from alignmeter.analysis.intervals import Estimate
from alignmeter.analysis.ranks import Efficiency, efficiencies
from alignmeter.cells.labels import cell_text
from alignmeter.records.record import VRAM


def divides_memory(material: Material, *, parallel: str, at_most: float) -> list[Evidence]:
    """The largest rank's peak in per cent of that of the same step on one device.

    It holds up to ``at_most`` times an even share, and fails above.
    """
    return [
        _share(row, row.peak, at_most)
        for row in efficiencies(material.groups)
        if row.peak is not None and row.cell.parallel == parallel
    ]


def _share(row: Efficiency, peak: Estimate, at_most: float) -> Evidence:
    even = 100 / row.cell.world_size
    percent = 100 * peak.value
    stance: Stance = "holds" if percent <= at_most * even else "fails"
    why = f"an even share is {even:.3g} %"
    if row.group.records[0].memory.kind != VRAM:
        stance, why = "apart", f"{why}; {ON_CPU}"
    return Evidence(
        cells=(row.cell.id, row.base.cell.id),
        device=row.group.where,
        what=cell_text(row.cell),
        figure=Estimate(value=percent, low=percent, high=percent, n=peak.n),
        unit="%",
        stance=stance,
        why=why,
    )
