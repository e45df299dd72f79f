"""Plans that were stored beside records: what would fit where, as the page shows it."""

__all__ = ["PlanView", "plan_views"]

from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.cells.naming import Naming
from alignmeter.records.prediction import Fit, Prediction
from alignmeter.units import bytes_text

_OWNERS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanView:
    """One planned cell. ``owners``: the largest rows of its ledger. ``fits``, ``misses``: chips
    with what is spare or lacking, the tightest first. ``name``: no other one here has it.
    """

    name: str
    prediction: Prediction
    owners: str
    fits: list[str]
    misses: list[str]


def plan_views(predictions: Sequence[Prediction]) -> list[PlanView]:
    """In order of the cells' ids; a cell that was planned twice is shown as planned last."""
    latest = {prediction.cell.id: prediction for prediction in predictions}
    naming = Naming(prediction.cell for prediction in latest.values())
    return [_view(latest[cell], naming) for cell in sorted(latest)]


def _view(prediction: Prediction, naming: Naming) -> PlanView:
    rows = sorted(prediction.ledger.items(), key=lambda row: -row[1])[:_OWNERS]
    chips = sorted(prediction.fits.items(), key=lambda item: abs(item[1].spare_bytes))
    return PlanView(
        name=naming.of(prediction.cell),
        prediction=prediction,
        owners=", ".join(
            f"{name.removesuffix('_bytes').replace('_', ' ')} {bytes_text(count)}"
            for name, count in rows
            if count
        ),
        fits=[_text(name, fit) for name, fit in chips if fit.ok],
        misses=[_text(name, fit) for name, fit in chips if not fit.ok],
    )


def _text(name: str, fit: Fit) -> str:
    spare = f"{bytes_text(abs(fit.spare_bytes))} {'spare' if fit.ok else 'too little'}"
    if fit.batch is None:
        return f"{name} ({spare})"
    return f"{name} ({spare}; at most batch {fit.batch}, or {fit.seq_len} tokens)"
