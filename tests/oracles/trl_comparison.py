"""One of our steps and one of TRL's trainers at the same inputs: what both want, how far apart."""

import dataclasses

import torch

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
COMBINATIONS = [(a, p) for a in ("llama", "mamba", "mamba2") for p in ("full", "lora")]
SETTINGS = {
    "per_device_train_batch_size": 4, "max_steps": 1, "report_to": [], "use_cpu": True,
    "save_strategy": "no", "gradient_checkpointing": False, "bf16": False, "disable_tqdm": True,
}  # fmt: skip
BOUND = 1e-5
"""What may lie between two fp32 computations of one loss, or of one gradient, relative to it."""
_LEAST_SHARE = 1e-3
"""Of the whole gradient: a parameter with less of it is compared to that much. Its own rounding is
that of the activations, which are those of all parameters."""
_ADAPTER_STD, _WEIGHT_STD = 0.02, 0.004


def our_step(method, architecture, peft, *, build=None, rows=None, away=1.0, **axes):
    """Our step on real text with padding, and its batch of such ``rows``.

    The policy is not its ref_model any more: every trained weight has moved by ``away`` times what
    is drawn for it.
    """
    axes |= {"accelerator": "cpu", "method": method, "architecture": architecture, "peft": peft}
    cell = resolve_cell(axes).cell
    setup = open_setup(cell, CPU, seed=0)
    step = (build or open_method(method).build)(setup)
    for model in step.models().values():
        _move(model, away)
    return step, batches_of(step).take(0, CPU, rows or open_method(method).rows)


def batches_of(step):
    return open_batches(step.setup.cell, vocab_size=512, seed=0)


def _move(model, away):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                std = _ADAPTER_STD if ".lora_B." in name else _WEIGHT_STD
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_(noise, alpha=away * std)


def untrained(step):
    """The base that the policy was before it moved, whatever the adapters: TRL's ref_model."""
    return open_setup(step.setup.cell, CPU, seed=0).backbones.take(0).requires_grad_(False).eval()


def caught(optimizer, model):
    """A dict that holds the gradients of each coming optimizer step, by parameter name."""
    names, found = {id(p): name for name, p in model.named_parameters()}, {}

    def keep(optimizer, *_):
        found.clear()
        for group in optimizer.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            found.update({names[id(p)]: p.grad.clone() for p in with_gradient})

    optimizer.register_step_pre_hook(keep)
    return found


def ran(step, batch):
    """Loss and gradients of one whole step of ours."""
    (optimizer,), (model, *_) = step.optimizers(), step.models().values()
    gradients = caught(optimizer, model)
    return step.run(batch, SilentProbe()).loss, gradients


def descended(loss, model):
    """``loss`` and the gradients that its backward pass leaves in ``model``."""
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def masks_of(batch):
    """Attention and completion of our batch in TRL's words: [2B, T] int64."""
    completion = torch.zeros_like(batch.ids)
    completion[:, batch.prompt_len :] = batch.response_mask.long()
    attention = completion.clone()
    attention[:, : batch.prompt_len] = 1
    return attention, completion


def split_at_prompt(batch):
    """The inputs of TRL's trainers that sample: prompts and completions apart."""
    attention, completion = masks_of(batch)
    at = batch.prompt_len
    return {
        "prompt_ids": batch.ids[:, :at], "prompt_mask": attention[:, :at],
        "completion_ids": batch.ids[:, at:], "completion_mask": completion[:, at:],
    }  # fmt: skip


def trained(trainer):
    """The trainer's model, ready for one loss outside of its loop."""
    trainer.current_gradient_accumulation_steps = 1
    return trainer.model.train()


@dataclasses.dataclass(frozen=True)
class Errors:
    """How far a loss and its worst gradient are apart, each relative to TRL's."""

    loss: float
    gradient: float
    worst: str


def errors_between(ours, theirs, *, terms=0.0):
    """Errors of (loss, gradients) against (loss, gradients).

    ``terms``: size of what a loss sums up whose terms cancel; it is compared to that.
    """
    (loss, gradients), (their_loss, their_gradients) = ours, theirs
    assert gradients
    assert set(gradients) == set(their_gradients)
    whole = torch.stack([g.norm() for g in their_gradients.values()]).norm()
    assert whole > 0
    apart = {
        name: float((gradients[name] - g).norm() / max(g.norm(), _LEAST_SHARE * whole))
        for name, g in their_gradients.items()
    }
    worst = max(apart, key=lambda name: apart[name])
    scale = max(abs(their_loss.item()), terms)
    return Errors(abs(loss.item() - their_loss.item()) / scale, apart[worst], worst)
