"""Whether a replicate's losses and gradients are right, and whose fault it is where they are not.

Operators, weights and config.json bring about the same symptoms. What tells them apart is a plain
run of the same steps: stock operators in fp32 on a CPU. What it shows too is no operator's doing.
"""

__all__ = ["blame_failure", "judge_numerics"]

import math
from collections.abc import Sequence
from dataclasses import dataclass

from alignmeter.architectures.checkpoint import RANDOM
from alignmeter.architectures.precision import precision_of
from alignmeter.cells.cell import Cell
from alignmeter.methods import open_method
from alignmeter.records.reasons import Code
from alignmeter.records.record import Numerics, Reason, Signal
from alignmeter.records.reference import Reference
from alignmeter.worker.agreement import is_reference
from alignmeter.worker.messages import Observed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plain:
    """Losses of the agreement steps and silent adapters of a plain run (``None``: not known)."""

    losses: Sequence[float]
    silent: Sequence[str] | None

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, self.losses))


def judge_numerics(
    cell: Cell,
    numerics: Numerics,
    observed: Observed | None,
    reference: Reference | None,
    notes: Sequence[Reason],
) -> list[Reason]:
    """Why the numerics are not valid; empty if they are. ``notes``: what is known of weights."""
    plain = _plain(cell, observed, reference)
    reasons = _not_finite(numerics, observed, plain, notes)
    if observed is not None:
        if not reasons or math.isfinite(observed.signals["loss"][0]):
            reasons += _first_loss(cell, observed, plain, notes)
        if observed.answers_equal:
            text = "no pair of the first step has two answers that differ within the cut"
            reasons.append(Reason(code=Code.PAIRS_EQUAL, text=text))
        elif observed.silent_adapters:
            reasons.append(_silence(observed.silent_adapters, plain, notes))
    reasons += [_disagreement(signal) for signal in numerics.agreement if not signal.agrees]
    return reasons


def _plain(cell: Cell, observed: Observed | None, reference: Reference | None) -> _Plain | None:
    """A cell that is computed as its reference would be is one itself. Random weights are right, so
    that for them nothing but the code is left.
    """
    if cell.model == RANDOM:
        return None
    if reference is not None:
        return _Plain(losses=reference.signals["loss"], silent=reference.silent_adapters)
    if observed is not None and is_reference(cell):
        return _Plain(losses=observed.signals["loss"], silent=observed.silent_adapters)
    return None


def blame_failure(
    cell: Cell,
    reason: Reason,
    observed: Observed | None,
    reference: Reference | None,
    reference_failure: str | None,
    notes: Sequence[Reason],
) -> Reason:
    """Why a step could not go on, its numbers being no numbers, under the code of its cause.

    A plain run is one that ended so too (``reference_failure``), or the cell itself. It says
    nothing of a step that it does not take, which comes after those of ``observed``.
    """
    shows = None
    if observed is None and cell.model != RANDOM:
        alike = is_reference(cell) or reference_failure == reason.code
        shows = alike if alike or reference is not None else None
    return _blamed(Code.NON_FINITE_LOSS, reason.text, shows, notes, Code.WEIGHTS_HUGE)


def _not_finite(
    numerics: Numerics, observed: Observed | None, plain: _Plain | None, notes: Sequence[Reason]
) -> list[Reason]:
    """A plain run says nothing of steps that it does not take, and of layers that it leaves out."""
    bad = [i for i, loss in enumerate(numerics.losses) if loss is None]
    at_fault = plain is not None and not plain.finite
    if not bad:
        text = "losses are finite here, and not with stock operators in fp32"
        return [Reason(code=Code.MODEL_AT_FAULT, text=text)] if at_fault else []
    text = f"{len(bad)} of {len(numerics.losses)} losses, the first in step {bad[0] + 1}"
    own = [] if observed is None else observed.signals["loss"]
    unknown = plain is None or (plain.finite and all(map(math.isfinite, own)))
    shows = None if unknown else at_fault
    return [_blamed(Code.NON_FINITE_LOSS, text, shows, notes, Code.WEIGHTS_HUGE)]


def _first_loss(
    cell: Cell, observed: Observed, plain: _Plain | None, notes: Sequence[Reason]
) -> list[Reason]:
    found, known = observed.signals["loss"][0], open_method(cell.method).first_loss(cell)
    if known is None:
        return []
    band = precision_of(cell.precision).first_loss_band * max(1.0, known)
    if abs(found - known) <= band:
        return []
    text = f"the first loss is {found:.6g}, with these models it is {known:.6g}"
    shows = None if plain is None else not abs(plain.losses[0] - known) <= band
    return [_blamed(Code.FIRST_LOSS, text, shows, notes, Code.WEIGHTS_HUGE)]


def _silence(silent: Sequence[str], plain: _Plain | None, notes: Sequence[Reason]) -> Reason:
    text = f"{len(silent)} adapters without a gradient, e.g. {silent[0]}"
    known = None if plain is None else plain.silent
    shows = None if known is None else set(silent) <= set(known)
    causes = Code.WEIGHTS_ZERO, Code.WEIGHTS_HUGE
    return _blamed(Code.ADAPTER_WITHOUT_GRADIENT, text, shows, notes, *causes)


def _blamed(
    code: Code, text: str, shows: bool | None, notes: Sequence[Reason], *causes: Code
) -> Reason:
    """The symptom under the code of its cause.

    ``shows``: whether a plain run shows it too; ``None`` where nobody knows, and then a note on the
    weights with one of the codes ``causes`` is believed.
    """
    if shows is not False:
        for note in notes:
            if note.code in causes:
                return Reason(code=note.code, text=f"{text}; {note.text}")
    if shows:
        return Reason(
            code=Code.MODEL_AT_FAULT, text=f"{text}; stock operators in fp32 give the same"
        )
    return Reason(code=code, text=text)


def _disagreement(signal: Signal) -> Reason:
    measured = ", ".join("not finite" if v is None else f"{v:.6g}" for v in signal.measured)
    wanted = ", ".join(f"{v:.6g}" for v in signal.reference)
    text = f"{signal.name} is {measured}; the reference has {wanted} (band {signal.band:.2g})"
    return Reason(code=Code.REFERENCE_DISAGREES, text=text)
