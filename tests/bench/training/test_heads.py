"""Loss heads: the same log-probs, and how much is held for them."""

import families
import plans as check
import pytest
import torch
from crossed import crossed
from hypothesis import given
from hypothesis import strategies as st

from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import predict
from alignmeter.registry import LOSS_HEADS, METHODS, users_of
from alignmeter.session.findings.step_flops import step_demand, step_flops
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.heads.liger import LIGER, chunk_tokens
from alignmeter.training.logprobs import hidden_states
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


@pytest.mark.parametrize(*crossed(method=users_of("loss_head"), batching=["fixed", "packed"]))
def test_every_head_gives_the_same_loss_and_gradients(method, batching, make_cell):
    axes = {"method": method, "batching": batching, "kernels": "custom", "prompt_len": 5}
    if batching == "packed" and METHODS[method].rollouts:
        axes["batching"] = "padded"
    (loss, gradients), *others = (
        first_gradients(make_cell(**axes, loss_head=head))
        for head, row in LOSS_HEADS.items()
        if METHODS[method].mean_loss or not row.means
    )
    for other, theirs in others:
        assert other == pytest.approx(loss, abs=1e-6)
        for mine, its in zip(gradients, theirs, strict=True):
            torch.testing.assert_close(its, mine, rtol=1e-3, atol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize(
    "axes",
    [
        {"method": "sft"},
        {"method": "dpo", "precision": "bf16", "peft": "lora"},
        *(
            pytest.param(axes, marks=pytest.mark.exhaustive)
            for axes in (
                {"method": "ppo", "ppo_topology": "shared", "precision": "bf16-mixed"},
                {"method": "kto", "architecture": "mamba2", "kernels": "custom"},
            )
        ),
        pytest.param(
            {"method": "orpo", "precision": "bf16-base", "peft": "qlora"},
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=lambda axes: "-".join(axes.values()),
)
def test_a_plan_has_all_logits(axes, make_cell, launcher):
    cell = make_cell(**axes, loss_head="logits", seq_len=64, prompt_len=50)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.phases == pytest.approx(measured.phase_peaks, rel=0.02)


@pytest.mark.full
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


@pytest.mark.parametrize(
    "axes",
    [
        {"prompt_len": 5, "microbatches": 2},
        {"batching": "packed"},
        {"batching": "padded", "peft": "lora", "data": "lengths:hh"},
        {"architecture": "mamba2", "precision": "bf16-mixed", "rows": 3},
    ],
    ids=lambda axes: "-".join(map(str, axes.values())),
)
def test_the_mean_loss_and_its_gradients_are_those_of_log_probs(axes, make_cell):
    cell = make_cell(method="sft", kernels="stock", **axes)
    loss, gradients = first_gradients(cell)
    mine, theirs = first_gradients(make_cell(**cell.axes() | {"loss_head": "liger"}))
    rounding = 0.01 if cell.precision == "bf16-mixed" else 1e-5
    assert mine == pytest.approx(loss, rel=rounding)
    for one, other in zip(theirs, gradients, strict=True):
        apart = (one - other).norm() / other.norm().clamp(min=1e-12)
        assert apart < rounding


def test_chunks_are_liger_s():
    """16384 tokens, 32000 ids, width 4096: 8 times as many ids as channels, 2048 tokens a chunk, as
    the comment in liger-kernel's own function has it.
    """
    assert chunk_tokens(4 * 4096, 32_000, 4096) == 2048


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**5))
def test_logits_of_a_chunk_take_no_more_than_twice_the_hidden_states(tokens, vocabulary, width):
    size = chunk_tokens(tokens, vocabulary, width)
    chunks = -(-vocabulary // width)
    assert size == tokens or size.bit_count() == 1
    assert size >= tokens / chunks
    assert size == 1 or size < 2 * (tokens / chunks + 1)


def test_gradients_are_of_the_forward_pass(make_cell):
    """LM head of 4 rows of 16 tokens: 2 x 192 x 512 a token for its input, and for its weight."""
    logits, liger = (
        make_cell(method="sft", prompt_len=10, loss_head=head) for head in ("logits", "liger")
    )
    head = 2 * 192 * 512 * 4 * 16
    theirs, mine = step_flops(logits), step_flops(liger)
    assert mine.trained - theirs.trained == theirs.backward - mine.backward == 2 * head
    theirs, mine = step_demand(logits), step_demand(liger)
    assert mine["forward"].flops - theirs["forward"].flops == 2 * head


@pytest.mark.full
def test_a_plan_holds_one_chunk_of_logits(make_cell):
    """130m in bf16, 8 rows of 256 tokens, 50 280 ids: 66 chunks of 32 tokens. At the end of the
    forward pass the gradients of its weight and of what it read are there in place of the logits,
    which `logits` holds in bf16 and twice in fp32.
    """
    axes = {"method": "sft", "size": "130m", "seq_len": 256, "prompt_len": 1, "rows": 8}
    axes["precision"] = "bf16"
    logits, liger = (predict(make_cell(**axes, loss_head=head)) for head in ("logits", "liger"))
    tokens, words, width = 8 * 256, 50_280, 768
    held = 2 * words * width + 2 * tokens * width
    expected = 10 * tokens * words - held
    assert logits.phases["forward"] - liger.phases["forward"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("axes", [{"method": "dpo"}, {"method": "kto"}])
def test_methods_that_want_log_probs_are_refused(axes):
    planned = resolve_cell(
        {"accelerator": "cpu", "data": "synthetic", "loss_head": "liger", **axes}
    )
    assert planned.unsupported is not None
    assert planned.unsupported.code == "impossible"
    assert "gives a mean loss and no log-probs" in planned.unsupported.text


def test_a_family_that_caps_its_logits_is_refused(tmp_path):
    model = families.config_file(tmp_path, "Gemma 2")
    planned = resolve_cell(
        {"accelerator": "cpu", "data": "synthetic", "method": "sft", "loss_head": "liger",
         "kernels": "stock", "model": model}
    )  # fmt: skip
    assert planned.unsupported is not None
    assert planned.unsupported.text.endswith(
        "which loss_head liger does not know; use loss_head own"
    )


@pytest.mark.exhaustive
@pytest.mark.parametrize("peft", ["full", "lora"])
def test_liger_kernel_itself_agrees(peft, make_cell):
    """On Triton's interpreter, whose kernel rewrites its logits as the torch path does."""
    pytest.importorskip("liger_kernel", reason="pip install liger-kernel")
    setup = open_setup(make_cell(method="sft", peft=peft), torch.device("cpu"), seed=0)
    policy = setup.policy()
    ids = torch.randint(3, 512, (3, 16), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 10)
    mask[1, 4:] = 0
    found = {}
    for kernels in ("stock", "vendor"):
        policy.zero_grad()
        states = hidden_states(policy, ids, 6)
        loss = LIGER.mean_loss(policy, states, ids, 6, mask, kernels=kernels)
        loss.backward()
        found[kernels] = [
            loss.detach(),
            *(p.grad.clone() for p in policy.parameters() if p.requires_grad),
        ]
    for mine, theirs in zip(*found.values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
