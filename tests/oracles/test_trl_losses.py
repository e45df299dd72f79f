"""DPO, RM and SFT against TRL 1.16: losses and every gradient, to 1e-5 relative."""

import copy

import pytest
import torch

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe

trl = pytest.importorskip("trl", reason="TRL is not installed; run tox -e oracle")
if not trl.__version__.startswith("1.16"):
    pytest.skip("needs TRL 1.16; run tox -e oracle", allow_module_level=True)

from trl_inputs import made_rows, made_tokenizer  # noqa: E402 - after the skips

pytestmark = pytest.mark.filterwarnings("default")  # of TRL and datasets
CPU = torch.device("cpu")
COMBINATIONS = [(a, p) for a in ("llama", "mamba", "mamba2") for p in ("full", "lora")]
SETTINGS = {
    "per_device_train_batch_size": 4, "max_steps": 1, "report_to": [], "use_cpu": True,
    "save_strategy": "no", "gradient_checkpointing": False, "bf16": False, "disable_tqdm": True,
}  # fmt: skip


def ours(method, architecture, peft):
    """Our step on real text with padding, its adapters no longer zero, and its batch."""
    cell = resolve_cell(
        {"accelerator": "cpu", "method": method, "architecture": architecture, "peft": peft}
    ).cell
    setup = open_setup(cell, CPU, seed=0)
    step = open_method(method).build(setup)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for model in step.models().values():
            for name, parameter in model.named_parameters():
                if ".lora_B." in name:
                    parameter.normal_(std=0.02, generator=generator)
    batches = open_batches(cell, vocab_size=512, seed=0)
    return step, batches.take(0, CPU, open_method(method).rows)


def loss_and_gradients(step, batch):
    """One step with the gradients caught before the optimizer uses them."""
    (optimizer,), (model, *_) = step.optimizers(), step.models().values()
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}

    def keep(optimizer, args, kwargs):
        for group in optimizer.param_groups:
            found.update({names[id(p)]: p.grad.clone() for p in group["params"]})

    optimizer.register_step_pre_hook(keep)
    return step.run(batch, SilentProbe()).loss, found


def inputs_of(batch):
    """Our batch in TRL's words: masks over whole rows."""
    rows, seq_len = batch.ids.shape
    completion = torch.zeros(rows, seq_len, dtype=torch.int64)
    completion[:, batch.prompt_len :] = batch.response_mask.long()
    attention = completion.clone()
    attention[:, : batch.prompt_len] = 1
    return batch.ids, attention, completion


def assert_alike(loss, gradients, their_loss, their_model, prefix=""):
    assert loss.item() == pytest.approx(their_loss.item(), rel=1e-5)
    theirs = {name: p.grad for name, p in their_model.named_parameters() if p.grad is not None}
    assert gradients
    for name, gradient in gradients.items():
        other = theirs[name.replace("backbone.", prefix, 1) if prefix else name]
        apart = (gradient - other).norm() / max(other.norm(), 1e-3)
        assert apart <= 1e-5, f"{name}: {apart:.2e}"


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_dpo(architecture, peft, tmp_path):
    step, batch = ours("dpo", architecture, peft)
    theirs = copy.deepcopy(step.policy)
    ref = open_setup(step.setup.cell, CPU, seed=0).backbones.take(
        0
    )  # the base, whatever the adapters
    settings = trl.DPOConfig(output_dir=str(tmp_path), beta=step.settings.beta, **SETTINGS)
    trainer = trl.DPOTrainer(
        model=theirs, ref_model=ref, args=settings, processing_class=made_tokenizer(),
        train_dataset=made_rows("prompt", "chosen", "rejected"),
    )  # fmt: skip
    ids, attention, completion = inputs_of(batch)
    trainer.model.train()
    their_loss = trainer.compute_loss(
        trainer.model,
        {"input_ids": ids, "attention_mask": attention, "completion_mask": completion},
    )
    their_loss.backward()
    assert_alike(*loss_and_gradients(step, batch), their_loss, trainer.model)


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_sft(architecture, peft, tmp_path):
    step, batch = ours("sft", architecture, peft)
    settings = trl.SFTConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = trl.SFTTrainer(
        model=copy.deepcopy(step.policy), args=settings, processing_class=made_tokenizer(),
        train_dataset=made_rows("prompt", "completion"),
    )  # fmt: skip
    ids, attention, completion = inputs_of(batch)
    labels = ids.masked_fill(completion == 0, -100)
    trainer.model.train()
    their_loss = trainer.compute_loss(
        trainer.model,
        {"input_ids": ids, "attention_mask": attention, "labels": labels},
        num_items_in_batch=completion.sum(),
    )
    their_loss.backward()
    assert_alike(*loss_and_gradients(step, batch), their_loss, trainer.model)


@pytest.mark.parametrize("peft", ["full", "lora"])
def test_rm(peft, tmp_path):
    """llama only: the Mambas have no sequence classification for TRL's trainer to take."""
    from transformers import LlamaForSequenceClassification

    step, batch = ours("rm", "llama", peft)
    config = copy.deepcopy(step.reward.backbone.config)
    config.num_labels = 1
    theirs = LlamaForSequenceClassification(config)
    theirs.model = copy.deepcopy(step.reward.backbone)
    theirs.score = copy.deepcopy(step.reward.score)
    settings = trl.RewardConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = trl.RewardTrainer(
        model=theirs, args=settings, processing_class=made_tokenizer(),
        train_dataset=made_rows("prompt", "chosen", "rejected"),
    )  # fmt: skip
    ids, attention, _ = inputs_of(batch)
    trainer.model.train()
    their_loss = trainer.compute_loss(
        trainer.model, {"input_ids": ids, "attention_mask": attention}
    )
    their_loss.backward()
    assert_alike(*loss_and_gradients(step, batch), their_loss, trainer.model, prefix="model.")


def test_trls_private_names_are_there():
    """`kernelbench/baselines.py` takes them for its baseline of log-probs."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    for module, name in (
        (chunked_logprob, "ChunkedLogProbFunction"),
        (utils, "_CHUNKED_LOGPROB_CHUNK_SIZE"),
    ):
        assert hasattr(module, name), f"TRL {trl.__version__} has no {module.__name__}.{name}"
