"""Loss heads: the same log-probs, and how much is held for them."""

import plans as check
import pytest
import torch

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import predict
from alignmeter.registry import LOSS_HEADS, METHODS, users_of
from alignmeter.session.findings.step_flops import step_flops
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")


def first_gradients(cell):
    """Loss of the first step and the gradients that its optimizers were given."""
    setup = open_setup(cell, CPU, seed=0)
    method = open_method(cell.method)
    step, found = method.build(setup), {}
    for optimizer in step.optimizers():
        optimizer.register_step_pre_hook(
            lambda optimizer, *_: found.update(
                (len(found), p.grad.clone()) for g in optimizer.param_groups for p in g["params"]
            )
        )
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    step.prepare(batches, SilentProbe())
    outcome = step.run(batches.take(0, CPU, method.rows), SilentProbe())
    return float(outcome.loss), list(found.values())


@pytest.mark.parametrize("batching", ["fixed", "packed"])
@pytest.mark.parametrize("method", users_of("loss_head"))
def test_every_head_gives_the_same_loss_and_gradients(method, batching, make_cell):
    axes = {"method": method, "batching": batching, "kernels": "custom", "prompt_len": 5}
    if batching == "packed" and METHODS[method].rollouts:
        axes["batching"] = "padded"
    (loss, gradients), *others = (
        first_gradients(make_cell(**axes, loss_head=head)) for head in LOSS_HEADS
    )
    for other, theirs in others:
        assert other == pytest.approx(loss, abs=1e-6)
        for mine, its in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(its, mine, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "axes",
    [
        {"method": "sft"},
        {"method": "dpo", "precision": "bf16", "peft": "lora"},
        *(
            pytest.param(axes, marks=pytest.mark.full)
            for axes in (
                {"method": "ppo", "ppo_topology": "shared", "precision": "bf16-mixed"},
                {"method": "kto", "architecture": "mamba2", "kernels": "custom"},
            )
        ),
        {"method": "orpo", "precision": "bf16-base", "peft": "qlora"},
    ],
    ids=lambda axes: "-".join(axes.values()),
)
def test_a_plan_has_all_logits(axes, make_cell, launcher):
    cell = make_cell(**axes, loss_head="logits", seq_len=64, prompt_len=50)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.phases == pytest.approx(measured.phase_peaks, rel=0.02)


def test_logits_of_every_token_are_held_in_two_dtypes(make_cell):
    """At the end of the forward pass, 130m in bf16: 2 bytes, their copy's 4 and the log-softmax's 4
    of 4 rows of 256 tokens and 50 280 ids. Gathering them, nothing else is made.
    """
    axes = {"method": "sft", "size": "130m", "seq_len": 256, "prompt_len": 128, "precision": "bf16"}
    logits = predict(make_cell(**axes, loss_head="logits"))
    own = predict(make_cell(**axes, kernels="custom"))
    whole = 4 * 256 * 50_280
    assert logits.phases["forward"] - own.phases["forward"] == pytest.approx(10 * whole, rel=0.05)


def test_the_head_reads_every_token(make_cell):
    """LM head: 4 rows of 16 tokens in place of 6 for each, 2 x 192 x 512 a token."""
    found = {
        head: step_flops(make_cell(method="sft", prompt_len=10, loss_head=head))
        for head in LOSS_HEADS
    }
    assert found["logits"].trained - found["own"].trained == 4 * 10 * 2 * 192 * 512


def test_methods_without_log_probs_have_no_head(make_cell):
    for method in ("rm", "distill"):
        assert make_cell(method=method, loss_head="logits") == make_cell(method=method)
