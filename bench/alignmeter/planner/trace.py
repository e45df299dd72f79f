"""One step of a cell on tensors without data: its peak, and whose bytes those are."""

__all__ = ["NotPlannedError", "Traced", "finished", "predict", "trace"]

import contextlib
import dataclasses
from collections.abc import Iterator

import msgspec
import torch

from alignmeter.accelerators import library_workspace_bytes, open_accelerator
from alignmeter.architectures import architecture_of, vendor_missing
from alignmeter.architectures.base import EOS_TOKEN
from alignmeter.batches import Batch, BatchRows, BatchSource, open_batches
from alignmeter.batches.drawn import SYNTHETIC
from alignmeter.batches.preferences import PAIRS
from alignmeter.batches.spans import Spans
from alignmeter.cells.cell import Cell
from alignmeter.errors import AlignmeterError, InputError
from alignmeter.methods import TrainingStep, open_method, open_setup
from alignmeter.planner.engines import unplanned, unplanned_peak
from alignmeter.planner.fake_ranks import fake_ranks
from alignmeter.planner.fake_tensors import without_data
from alignmeter.planner.plan_log import PlanLog
from alignmeter.planner.segments import reserved_peak
from alignmeter.records.prediction import Prediction
from alignmeter.session.findings.step_flops import step_demand, unbounded
from alignmeter.text import shortened
from alignmeter.training.step import SilentProbe
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.ledger import logged, own_residents, rows
from alignmeter_kernels.planning import planning

_TEXT = 200
_DEVICE = torch.device("cpu")
"""Of the fake tensors: a build without CUDA has no fake CUDA ones."""


class NotPlannedError(AlignmeterError):
    """A cell has no plan; the text says why, and names the operator that stopped the trace."""


def predict(cell: Cell, *, seed: int = 0) -> Prediction:
    """Trace one step of ``cell`` whose optimizers have state already.

    A rollout is traced as its prefill and its first and last token at full cache; on a cache of
    fixed size, compiled or not, as its prefill and its first two tokens. Raises `InputError` for
    data that cannot be read, and `NotPlannedError` for every other reason: the data do not fit the
    cell, only the rollout's engine knows what it holds, the step needs values (control flow that
    depends on data) or an operator without a fake implementation, or something in it fails.
    """
    return finished(trace(cell, seed=seed).prediction())


def finished(prediction: Prediction) -> Prediction:
    """The plan with what the step asks of a device at least, or why nobody has counted it.

    Raises `NotPlannedError` for a peak that stands for nothing.
    """
    cell = prediction.cell
    _raise_for(unplanned_peak(cell, prediction.peak_phase))
    reason = unbounded(cell)
    sent = {
        phase: {kind: one.bytes for kind, one in kinds.items()}
        for phase, kinds in prediction.communication.items()
    }
    demand = {} if reason is not None else step_demand(cell, sent)
    return msgspec.structs.replace(prediction, demand=demand, demand_reason=reason)


def trace(cell: Cell, *, seed: int = 0, layers: int | None = None) -> "Traced":
    """The step itself, for `predict`; ``layers`` cuts every backbone to its first ones.

    Raises as `predict`.
    """
    accelerator = open_accelerator(cell.accelerator)
    _raise_for(unplanned(cell, accelerator) or _unpackaged(cell))
    log = PlanLog(_DEVICE, accelerator)
    with _refusing(log), fake_ranks(cell.world_size):
        return _traced(cell, seed, log, layers)


def _raise_for(reason: str | None) -> None:
    if reason is not None:
        raise NotPlannedError(reason)


def _unpackaged(cell: Cell) -> str | None:
    """Why kernels of other projects cannot be traced here: their own code makes the tensors."""
    if cell.kernels != "vendor":
        return None
    return vendor_missing(architecture_of(cell).vendor, cell.architecture, cell.accelerator)


def _traced(cell: Cell, seed: int, log: PlanLog, layers: int | None) -> "Traced":
    device, accelerator = _DEVICE, open_accelerator(cell.accelerator)
    method = open_method(cell.method)
    setup = open_setup(cell, device, seed=seed, layers=layers)
    source = _source(cell, setup.vocab_size, seed)
    with without_data(cell.accelerator):
        batch = _batch(cell, source, method.rows, device)
        step = method.build(setup)
        step.prepare(_OneBatch.of(source, batch), SilentProbe())
        with planning(log, accelerator.planned_chip):
            _make_optimizer_state(step)
            own_residents(log, step, batch)
            logged(log, lambda: step.run(batch, log), step)
    return Traced.of(cell, log, step)


@contextlib.contextmanager
def _refusing(log: AllocationLog) -> Iterator[None]:
    """Whatever stops the trace becomes a reason; what the user gave wrongly is not the cell's."""
    try:
        yield
    except InputError:
        raise
    except AlignmeterError as error:
        raise NotPlannedError(str(error)) from error
    except Exception as error:
        raise NotPlannedError(_refusal(log, error)) from error


def _refusal(log: AllocationLog, error: Exception) -> str:
    """Which operator it was. Nothing but tensors without values sets the trace apart."""
    said = shortened(next(iter(str(error).splitlines()), ""), _TEXT)
    what = f"{type(error).__name__}: {said}"
    if not log.operators:
        return f"the step cannot be made without data ({what}); only a measurement can tell"
    return (
        f"{log.operators[-1]} needs the values of its tensors or has no fake implementation "
        f"({what}); only a measurement can tell"
    )


def _make_optimizer_state(step: TrainingStep) -> None:
    """By the optimizers' own first step; what it computes has no values anyway."""
    for optimizer in step.optimizers():
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _source(cell: Cell, vocabulary: int, seed: int) -> BatchSource:
    """The cell's data, if only to find that they do not fit it; synthetic ones always do.

    Those are made short: nobody reads them, and a plan may have millions of tokens. All of their
    rows are of one length, whatever ``batching`` is.
    """
    if cell.data == SYNTHETIC:
        cell = msgspec.structs.replace(cell, seq_len=2, prompt_len=1)
    return open_batches(cell, vocab_size=vocabulary, seed=seed)


def _batch(cell: Cell, source: BatchSource, kind: BatchRows, device: torch.device) -> Batch:
    """A batch of the cell's shape: without padding, or of the longest rows there are."""
    rows, seq_len = cell.step_rows, cell.seq_len
    count = source.pairs_of_step(kind)
    if cell.batching == "fixed":
        return Batch(
            ids=torch.empty(rows, seq_len, dtype=torch.int64),
            response_mask=torch.empty(rows, seq_len - cell.prompt_len),
            prompt_len=cell.prompt_len,
            eos=EOS_TOKEN,
            real_tokens=rows * seq_len,
            pairs=tuple(range(count)),
            desirable=_labels(rows, source, kind),
        )
    prompts, lengths = (cell.prompt_len,) * rows, (seq_len,) * rows
    if cell.data != SYNTHETIC:
        shape = source.longest_shape(kind)
        prompts, lengths = shape.prompts, shape.lengths
    longest, packs = max(lengths), cell.batching == "packed"
    spans = Spans.of(prompts, lengths, device, row_len=longest, packs=packs)
    return Batch(
        ids=torch.empty(rows, longest, dtype=torch.int64),
        response_mask=spans.mask,
        prompt_len=min(prompts),
        eos=EOS_TOKEN,
        real_tokens=sum(lengths),
        pairs=tuple(range(count)),
        spans=spans,
        desirable=_labels(rows, source, kind),
    )


def _labels(rows: int, source: BatchSource, kind: BatchRows) -> torch.Tensor | None:
    """Of answers that the file judges one by one."""
    judged = kind == "unpaired" and source.kind != PAIRS
    return torch.empty(rows, dtype=torch.bool) if judged else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _OneBatch(BatchSource):
    """All pairs as one batch: what a method prepares is traced a single time."""

    only: Batch

    @classmethod
    def of(cls, source: BatchSource, only: Batch) -> "_OneBatch":
        """The source with that batch in place of any other."""
        fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source) if f.init}
        return cls(**{**fields, "batch": source.kept}, only=only)

    def take(self, *_: object, **__: object) -> Batch:
        """That of the step."""
        return self.only


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Traced:
    """One step. For each operator of ``log``, in bytes: ``made`` by it, and ``inside``, what was
    live when it began and what it made, the product library's ``library_bytes`` with it.
    """

    cell: Cell
    log: PlanLog
    library_bytes: int
    made: list[int]
    inside: list[int]
    trained_parameters: int

    @classmethod
    def of(cls, cell: Cell, log: PlanLog, step: TrainingStep) -> "Traced":
        """What the log of that step says."""
        library = library_workspace_bytes(open_accelerator(cell.accelerator).planned_chip)
        made = [0] * len(log.operators)
        for storage in log.storages:
            if storage.born >= 0:
                made[storage.born] += storage.nbytes
        parameters = {id(p): p for model in step.models().values() for p in model.parameters()}
        trained = [p for p in parameters.values() if p.requires_grad]
        return cls(
            cell=cell,
            log=log,
            library_bytes=library,
            made=made,
            # The curve has one entry more: what is live after the last operator.
            inside=[
                live + new + library for live, new in zip(log.live_curve()[:-1], made, strict=True)
            ],
            trained_parameters=sum(p.numel() for p in trained),
        )

    def ledger(self, at: int) -> dict[str, int]:
        """Owner -> bytes inside an operator."""
        ledger = {"library_workspace": self.library_bytes}
        for storage in self.log.storages:
            if storage.alive_at(at) or storage.born == at:
                owner = storage.owned_by
                ledger[owner] = ledger.get(owner, 0) + storage.nbytes
        return ledger

    def prediction(self) -> Prediction:
        """The largest moment, and that of each phase."""
        phases: dict[str, int] = {}
        for operator, phase in enumerate(self.log.phase_of):
            if phase is not None:
                phases[phase] = max(phases.get(phase, 0), self.inside[operator])
        at, library = max(range(len(self.inside)), key=self.inside.__getitem__), self.library_bytes
        cached = open_accelerator(self.cell.accelerator).planned_chip is not None
        return Prediction(
            cell=self.cell,
            peak_bytes=self.inside[at],
            peak_phase=self.log.phase_of[at],
            peak_operator=self.log.operators[at],
            phases=phases,
            ledger=rows(self.ledger(at)),
            trained_parameters=self.trained_parameters,
            communication=self.log.communication,
            reserved_bytes=reserved_peak(self.log.storages, [library]) if cached else None,
        )
