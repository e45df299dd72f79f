"""Two processes on the CPU that take steps together, beside one process with the same batches."""

import contextlib
import multiprocessing
import traceback
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures.checkpoint import Checkpoint
from alignmeter.batches import open_batches
from alignmeter.children import die_with_parent
from alignmeter.methods import open_method, open_setup
from alignmeter.parallel import Ranks
from alignmeter.peft.nf4 import quantisation_tensors
from alignmeter.session.resolve import resolve_cell
from alignmeter.training import actors, backbones, rewards
from alignmeter.training.accumulation import AccumulatingStep
from alignmeter.training.rollout import Asked
from alignmeter.training.step import SilentProbe
from alignmeter.worker.agreement import observe
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.ledger import profile_step

CPU = torch.device("cpu")
SIZE = 2
STEPS = 5
_PATIENCE_S = 120.0
"""A loaded machine; what hangs for good is told by it."""


@dataclass
class Seen:
    """What steps gave; of a rank that of its own rows where it says rollouts, shares and bytes."""

    losses: list = field(default_factory=list)
    metrics: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    rollouts: list = field(default_factory=list)
    gradients: dict = field(default_factory=dict)
    weight_bytes: int = 0
    state_bytes: int = 0


def cell_of(axes):
    """Synthetic data, short sequences, stock kernels, where the axes say nothing else."""
    given = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, "kernels": "stock"}
    return resolve_cell({**given, **axes}).cell


def run_steps(axes, steps=STEPS):
    """`Seen` of the first steps of a cell."""
    cell = cell_of(axes)
    setup, method, seen = open_setup(cell, CPU, seed=0), open_method(cell.method), Seen()
    step = method.build(setup)
    assert step.rows == method.rows
    names = {
        id(p): f"{owner}/{name}"
        for owner, model in reversed(step.models().items())
        for name, p in model.named_parameters()
        if "_head.score." not in name  # a root holds the heads that others have
    }
    for optimizer in step.optimizers():
        optimizer.register_step_pre_hook(lambda made, *_: _keep(made, names, seen.gradients))
    source = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    step.prepare(source, SilentProbe())
    for number in range(steps):
        outcome = step.run(source.take(number, CPU, method.rows), SilentProbe())
        seen.losses.append(float(outcome.loss))
        seen.metrics.append({name: float(value) for name, value in outcome.metrics.items()})
        counts = outcome.trained_tokens, outcome.padded_tokens, outcome.generated_tokens
        seen.tokens.append(counts)
        if outcome.rollout is not None:
            seen.rollouts.append(outcome.rollout.tolist())
    _count_bytes(step, seen)
    return seen


def signals(axes):
    """What the agreement check sees of a cell."""
    cell = cell_of(axes)
    setup, method = open_setup(cell, CPU, seed=0), open_method(cell.method)
    step = method.build(setup)
    source = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    found = observe(step, source, method, CPU)
    return found.signals, found.silent_adapters


def ledger(axes):
    """(peak bytes, row -> bytes) of the third step of a cell."""
    cell = cell_of(axes)
    setup, method = open_setup(cell, CPU, seed=0), open_method(cell.method)
    step = method.build(setup)
    source = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    step.prepare(source, SilentProbe())
    batches = [source.take(number, CPU, method.rows) for number in range(3)]
    for batch in batches[:2]:
        step.run(batch, SilentProbe())
    found = profile_step(step, batches[2], open_accelerator("cpu"), CPU)
    return found.peak_bytes, found.ledger


def built_bytes(axes):
    """The most that tensors took while the models were made."""
    cell = cell_of(axes)
    setup, log = open_setup(cell, CPU, seed=0), AllocationLog(CPU, markers=False)
    with log:
        open_method(cell.method).build(setup)
    return max(log.live_curve())


def _keep(optimizer, names, found):
    """The first gradient of each weight, whole."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and names[id(parameter)] not in found:
                grad = parameter.grad
                whole = grad.full_tensor() if isinstance(grad, DTensor) else grad
                found[names[id(parameter)]] = whole.detach().float().numpy().copy()


def _count_bytes(step, seen):
    """Of weights and of optimizer state, quantisation state apart; what two models share, once."""
    models = step.models().values()
    apart = {id(tensor) for model in models for tensor in quantisation_tensors(model)}
    weights = {id(p): p for model in models for p in model.parameters() if id(p) not in apart}
    seen.weight_bytes = sum(map(_nbytes, weights.values()))
    states = [state for optimizer in step.optimizers() for state in optimizer.state.values()]
    seen.state_bytes = sum(
        _nbytes(value) for state in states for value in state.values() if torch.is_tensor(value)
    )


def _nbytes(tensor):
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).nbytes


def loss_apart(one, other, *, term=0.0):
    """Largest difference, relative to the loss, or to terms of that size where they cancel."""
    pairs = zip(one.losses, other.losses, strict=True)
    return max(abs(a - b) / max(abs(b), term) for a, b in pairs)


def gradient_apart(one, other):
    """Relative L2 norm of the difference over all weights."""
    assert one.gradients.keys() == other.gradients.keys()
    both = [(one.gradients[name], other.gradients[name]) for name in other.gradients]
    apart = sum(np.square(np.float64(a) - b).sum() for a, b in both)
    return float(np.sqrt(apart / sum(np.square(np.float64(b)).sum() for _, b in both)))


def _local_means(change):
    """Each rank keeps to itself what the loss needs of all."""
    change(Ranks, "joined", lambda self, own: own.repeat(self.size, *[1] * (own.ndim - 1)))


def _local_token_mean(change):
    change(AccumulatingStep, "token_share", lambda self, _: 1 / self.setup.ranks.size)


def _outside_the_root(change):
    def scored(scalar, ids, _):
        return scalar.forward(ids)

    change(actors, "scored", scored)
    change(rewards, "scored", scored)


def _own_draws(change):
    """Every rank's generator has the same seed and draws for the rank's rows alone."""
    whole = Asked.of_rows

    def of_rows(self, rows):
        asked = whole(self, rows)
        return Asked(prompts=asked.prompts, new_tokens=asked.new_tokens, generator=asked.generator)

    change(Asked, "of_rows", of_rows)


def _drawn_there(change):
    """No fault, but as on a device that draws its own weights."""
    change(backbones, "drawing_device", lambda *_, **__: "there")
    change(Checkpoint, "drawing_device", lambda self, **_: "there" if self.drawn else "")


FAULTS = {
    "drawn there": _drawn_there,
    "local means": _local_means,
    "local token mean": _local_token_mean,
    "value outside the root": _outside_the_root,
    "own draws": _own_draws,
}


@contextlib.contextmanager
def faulty(fault):
    """Within the context steps have that fault."""
    before = []

    def change(place, name, value):
        before.append((place, name, getattr(place, name)))
        setattr(place, name, value)

    if fault is not None:
        FAULTS[fault](change)
    try:
        yield
    finally:
        for place, name, value in reversed(before):
            setattr(place, name, value)


def _serve(connection, store, rank):
    die_with_parent()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        store=dist.FileStore(store, SIZE),
        rank=rank,
        world_size=SIZE,
        timeout=timedelta(seconds=_PATIENCE_S),
    )
    while True:
        try:
            function, given, fault = connection.recv()
        except EOFError:
            return
        try:
            with faulty(fault):
                answer = "ok", function(*given)
        except Exception:  # noqa: BLE001 - the test is told
            answer = "failed", traceback.format_exc()
        connection.send(answer)


class Pair:
    """The two processes; the context ends them."""

    def __init__(self, folder):
        context = multiprocessing.get_context("forkserver")
        self._ends, self._processes = [], []
        for rank in range(SIZE):
            mine, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, str(folder / "store"), rank), daemon=True
            )
            process.start()
            theirs.close()
            self._ends.append(mine)
            self._processes.append(process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.join()

    def call(self, function, *given, fault=None):
        """The answers of both ranks, which have to be no failures."""
        answers = self.answers(function, *given, fault=fault)
        assert [kind for kind, _ in answers] == ["ok"] * SIZE, answers
        return [answer for _, answer in answers]

    def answers(self, function, *given, fault=None):
        """``("ok", answer)`` or ``("failed", why)`` of each rank."""
        for end in self._ends:
            end.send((function, given, fault))
        assert all(end.poll(_PATIENCE_S) for end in self._ends)
        return [end.recv() for end in self._ends]
