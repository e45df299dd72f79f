"""DPO's losses, KTO, SimPO and ORPO against TRL 1.16: losses and every gradient, to 1e-5 relative.

Our whole step stands against the trainer's own loss, on real text with padding, the policy away
from its ref_model.
"""

import copy

import pytest
import torch

from alignmeter.methods.losses.dpo import DPO_LOSSES

trl = pytest.importorskip("trl", reason="TRL is not installed; run tox -e oracle")
if not trl.__version__.startswith("1.16"):
    pytest.skip("needs TRL 1.16; run tox -e oracle", allow_module_level=True)

from trl.experimental.cpo import CPOConfig, CPOTrainer  # noqa: E402 - after the skips
from trl.experimental.orpo import ORPOConfig, ORPOTrainer  # noqa: E402
from trl_comparison import (  # noqa: E402
    COMBINATIONS,
    SETTINGS,
    descended,
    masks_of,
    our_step,
    ran,
    trained,
    untrained,
)
from trl_inputs import made_rows, made_tokenizer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # of TRL and datasets
PAIRS = made_rows("prompt", "chosen", "rejected")
DPO_KINDS = {"sigmoid": "sigmoid", "ipo": "ipo", "apo-zero": "apo_zero", "hinge": "hinge"}
"""Our value of the axis -> TRL's."""


def built(kind, settings, step, folder, *, rows=PAIRS, ref_model=None, **more):
    """TRL's trainer of a copy of our policy, before our step changes it."""
    ref = {} if ref_model is None else {"ref_model": ref_model}
    return kind(
        model=copy.deepcopy(step.policy), args=settings(output_dir=str(folder), **SETTINGS, **more),
        processing_class=made_tokenizer(), train_dataset=rows, **ref,
    )  # fmt: skip


def whole_rows(batch):
    attention, completion = masks_of(batch)
    return {"input_ids": batch.ids, "attention_mask": attention, "completion_mask": completion}


def by_answer(batch):
    """Our batch as TRL's CPO and ORPO want it: chosen and rejected rows apart."""
    attention, completion = masks_of(batch)
    columns = {
        "input_ids": batch.ids, "attention_mask": attention,
        "labels": batch.ids.masked_fill(completion == 0, -100),
    }  # fmt: skip
    halves = {name: column.chunk(2) for name, column in columns.items()}
    return {
        f"{answer}_{name}": half[i]
        for i, answer in enumerate(("chosen", "rejected"))
        for name, half in halves.items()
    }


def test_every_dpo_loss_has_a_name_of_trls():
    assert set(DPO_KINDS) == set(DPO_LOSSES)


@pytest.mark.parametrize("kind", DPO_KINDS)
@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_dpo(architecture, peft, kind, tmp_path, compare):
    step, batch = our_step("dpo", architecture, peft, dpo_loss=kind)
    trainer = built(
        trl.DPOTrainer, trl.DPOConfig, step, tmp_path, ref_model=untrained(step),
        loss_type=[DPO_KINDS[kind]], beta=step.settings.beta,
    )  # fmt: skip
    model = trained(trainer)
    loss = trainer.compute_loss(model, whole_rows(batch))
    compare(f"dpo {kind}", ran(step, batch), descended(loss, model))


@pytest.mark.parametrize("away", [1.0, -1.0])
@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_kto(architecture, peft, away, tmp_path, compare):
    """The policy on either side of its ref_model: the reference point is positive, or cut at 0."""
    step, batch = our_step("kto", architecture, peft, away=away)
    rows = made_rows("prompt", "completion")
    trainer = built(
        trl.KTOTrainer, trl.KTOConfig, step, tmp_path, ref_model=untrained(step),
        rows=rows.add_column("label", [i % 2 == 0 for i in range(len(rows))]),
        beta=step.settings.beta,
    )  # fmt: skip
    # Each prompt with the completion of the row before, as TRL's collator pairs them.
    attention, completion = masks_of(batch)
    at = batch.prompt_len
    turned = [
        torch.cat([tensor[:, :at], tensor[:, at:].roll(1, 0)], dim=1)
        for tensor in (batch.ids, attention, completion)
    ]
    names = ("KL_input_ids", "KL_attention_mask", "KL_completion_mask")
    desirable = torch.arange(len(batch.ids)) < len(batch.ids) // 2
    inputs = {**whole_rows(batch), **dict(zip(names, turned, strict=True)), "label": desirable}
    model = trained(trainer)
    loss = trainer.compute_loss(model, inputs)
    compare("kto", ran(step, batch), descended(loss, model))


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_simpo(architecture, peft, tmp_path, compare):
    step, batch = our_step("simpo", architecture, peft)
    trainer = built(
        CPOTrainer, CPOConfig, step, tmp_path, loss_type="simpo", cpo_alpha=0.0,
        beta=step.settings.beta, simpo_gamma=step.settings.gamma,
    )  # fmt: skip
    model = trained(trainer)
    loss = trainer.compute_loss(model, by_answer(batch))
    compare("simpo", ran(step, batch), descended(loss, model))


@pytest.mark.parametrize(("architecture", "peft"), COMBINATIONS)
def test_orpo(architecture, peft, tmp_path, compare):
    step, batch = our_step("orpo", architecture, peft)
    trainer = built(ORPOTrainer, ORPOConfig, step, tmp_path, beta=step.settings.weight)
    model = trained(trainer)
    loss = trainer.compute_loss(model, by_answer(batch))
    compare("orpo", ran(step, batch), descended(loss, model))
