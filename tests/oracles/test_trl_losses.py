"""SFT and RM against TRL 1.16: losses and every gradient, to 1e-5 relative."""

import copy

import pytest

trl = pytest.importorskip("trl", reason="TRL is not installed; run tox -e oracle")
if not trl.__version__.startswith("1.16"):
    pytest.skip("needs TRL 1.16; run tox -e oracle", allow_module_level=True)

from trl_comparison import (  # noqa: E402 - after the skips
    COMBINATIONS,
    SETTINGS,
    descended,
    masks_of,
    our_step,
    ran,
    trained,
)
from trl_inputs import made_rows, made_tokenizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of TRL and datasets


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_sft(architecture, peft, tmp_path, compare):
    step, batch = our_step("sft", architecture, peft)
    settings = trl.SFTConfig(output_dir=str(tmp_path), **SETTINGS)
    trainer = trl.SFTTrainer(
        model=copy.deepcopy(step.policy), args=settings, processing_class=made_tokenizer(),
        train_dataset=made_rows("prompt", "completion"),
    )  # fmt: skip
    attention, completion = masks_of(batch)
    labels = batch.ids.masked_fill(completion == 0, -100)
    model = trained(trainer)
    loss = trainer.compute_loss(
        model,
        {"input_ids": batch.ids, "attention_mask": attention, "labels": labels},
        num_items_in_batch=completion.sum(),
    )
    compare("sft", ran(step, batch), descended(loss, model))


@pytest.mark.parametrize("peft", ["full", "lora"])
def test_rm(peft, tmp_path, compare):
    """llama only: the Mambas have no sequence classification for TRL's trainer to take."""
    from transformers import LlamaForSequenceClassification

    step, batch = our_step("rm", "llama", peft)
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
    attention, _ = masks_of(batch)
    model = trained(trainer)
    loss = trainer.compute_loss(model, {"input_ids": batch.ids, "attention_mask": attention})
    their_loss, gradients = descended(loss, model)
    gradients = {name.replace("model.", "backbone.", 1): g for name, g in gradients.items()}
    compare("rm", ran(step, batch), (their_loss, gradients))


def test_trls_private_names_are_there():
    """`kernelbench/baselines.py` takes them for its baseline of log-probs."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    for module, name in (
        (chunked_logprob, "ChunkedLogProbFunction"),
        (utils, "_CHUNKED_LOGPROB_CHUNK_SIZE"),
    ):
        assert hasattr(module, name), f"TRL {trl.__version__} has no {module.__name__}.{name}"
