"""The ledger against hand counts, and real runs whose figures are invalid."""

import dataclasses
import math

import pytest
import torch
from crossed import crossed

from alignmeter.architectures.mamba import MAMBA
from alignmeter.records.record import OWNERS, encode_record
from alignmeter.registry import ARCHITECTURES, METHODS
from alignmeter.session.findings.assemble import assemble
from alignmeter.session.findings.found import Findings
from alignmeter.session.sampling import Sampling
from alignmeter.training.step import SilentProbe
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.cpu_events import record_events
from alignmeter.worker.memory.torch_internals import FakeTensorMode
from alignmeter.worker.workload import Workload


def ready(cell):
    """A workload whose optimizers have state."""
    load = Workload(cell, 0)
    load.build()
    load.agreement([])
    return load


@pytest.mark.full
@pytest.mark.parametrize(
    ("method", "seq_len", "longest"),
    # The table's longest row has 956 tokens and an end of text; prompts are cut to P, and a rollout
    # has T - P tokens after the longest of them.
    [
        pytest.param("dpo", 1024, 957, marks=pytest.mark.exhaustive),
        pytest.param("dpo", 64, 64, marks=pytest.mark.exhaustive),
        ("grpo", 40, 40),
    ],
)
def test_memory_is_that_of_the_longest_rows(method, seq_len, longest, make_cell):
    """Whichever steps came before, and none is taken for it."""
    axes = {"data": "lengths:hh", "batching": "padded", "batch": 1, "prompt_len": seq_len // 2}
    if seq_len == 1024:
        axes["prompt_len"] = 1000
    load = ready(make_cell(method=method, seq_len=seq_len, **axes))
    first = load.memory_step()
    done = load.steps_done
    load.run_once(SilentProbe())
    again = load.memory_step()
    assert first.seq_len == again.seq_len == longest
    assert first.peak_bytes == again.peak_bytes
    assert load.steps_done == done + 1
    found = Findings(cell=load.cell, replicate=0, seed=0, sampling=Sampling(0.0))
    found.provenance, found.profile = load.provenance(), first
    assert assemble(found).memory.seq_len == (None if longest == seq_len else longest)


@pytest.mark.full
@pytest.mark.parametrize("backward", ["sequential", "joint"])
def test_the_ledger_holds_what_can_be_counted_by_hand(backward, make_cell):
    """fp32 weights: 4 bytes a parameter; AdamW: two moments and a 4-byte step per tensor.

    At the peak, the end of a backward pass, all gradients of one loss are there: in turn the
    policy's alone, whose logits make its pass the larger one; jointly both models'.
    """
    load = ready(make_cell(method="ppo", ppo_backward=backward))
    ledger = load.memory_step().ledger
    policy = load.step_object.models()["policy"]
    value = load.step_object.models()["value"]
    of_policy = 4 * sum(p.numel() for p in policy.parameters())
    assert ledger["policy_weights_bytes"] - of_policy == 4 * sum(
        b.numel() for b in policy.buffers()
    )
    assert ledger["ref_weights_bytes"] == ledger["policy_weights_bytes"]
    assert ledger["reward_weights_bytes"] == ledger["value_weights_bytes"]
    trained = [*policy.parameters(), *value.parameters()]
    assert ledger["optimizer_state_bytes"] == sum(8 * p.numel() + 4 for p in trained)
    assert ledger["adapters_bytes"] == ledger["quantisation_state_bytes"] == 0
    with_gradient = policy.parameters() if backward == "sequential" else trained
    assert ledger["gradients_bytes"] == 4 * sum(p.numel() for p in with_gradient)
    assert set(ledger) == {f"{owner}_bytes" for owner in OWNERS}


def test_shared_backbones_belong_to_policy_and_ref_model(make_cell):
    """Only their heads, 192 weights each, are the value and the reward model's own."""
    ledger = ready(make_cell(method="ppo", ppo_topology="shared")).memory_step().ledger
    assert ledger["ref_weights_bytes"] == ledger["policy_weights_bytes"] > 1e6
    assert ledger["reward_weights_bytes"] == ledger["value_weights_bytes"] == 4 * 192


def test_the_rollout_cache_has_its_size(make_cell):
    """llama tiny: keys and values, 3 layers, 4 rows, 192 wide, fp32, for 12 of T = 16 tokens."""
    load = Workload(make_cell(method="ppo", prompt_len=8), 0)
    load.build()
    log = AllocationLog(load.device, markers=False)
    with log:
        load.run_once(log)
    largest = 3 * 2 * 4 * 192 * 15 * 4  # the last of the 8 new tokens is never fed back
    by_size = [s.nbytes for s in log.storages if s.owner == "rollout_cache"]
    assert max(by_size) == largest // 6
    assert by_size.count(max(by_size)) == 6


def test_a_hidden_workspace_is_seen():
    """An allocation inside an operator, which no dispatch mode sees, is in the CPU's events.

    ``logsumexp`` holds the rows' maxima, ``exp(x - maximum)`` as large as x, and its result.
    """
    x = torch.randn(512, 512)
    log = AllocationLog(torch.device("cpu"), markers=True)
    with record_events() as events, log:
        kept = torch.logsumexp(x, 1)
    hidden = x.nbytes + kept.nbytes
    assert log.operators == ["aten.logsumexp.default"]
    assert log.live_curve() == [0, kept.nbytes]
    assert events.replay() == [(0, 0), (0, kept.nbytes + hidden)]
    assert kept.nbytes + hidden == 1_052_672


def test_a_nan_loss_ends_as_a_record(launcher, make_cell):
    """Found in the losses whatever made it; here the assembled record of a diverged replicate."""
    load = ready(make_cell())
    first = load.step()
    with torch.no_grad():
        next(load.step_object.models()["policy"].parameters()).fill_(math.nan)
    steps = [load.step() for _ in range(3)]
    found = Findings(
        cell=load.cell, replicate=0, seed=0, sampling=Sampling(0.0), warmup=[first], steps=steps
    )
    found.provenance, found.profile = load.provenance(), load.memory_step()
    record = assemble(found)
    assert record.status == "ok"
    assert record.numerics.losses[1:] == [None, None, None]
    assert [r.code for r in record.validity["numerics"].reasons] == ["non_finite_loss"]
    assert b"NaN" not in encode_record(record)


def test_an_adapter_without_gradient_is_found(monkeypatch, make_cell):
    """dt_proj's weight is read raw, so LoRA on it never gets a gradient."""
    wrong = dataclasses.replace(MAMBA, lora_targets=("in_proj", "dt_proj"))
    monkeypatch.setattr("alignmeter.architectures.mamba.MAMBA", wrong)
    load = Workload(make_cell(architecture="mamba", peft="lora"), 0)
    load.build()
    silent = load.agreement([]).silent_adapters
    assert len(silent) == 4  # one per layer
    assert all("dt_proj" in name for name in silent)


@pytest.mark.parametrize(
    *crossed(method=METHODS, architecture=ARCHITECTURES, topology=["separate", "shared"])
)
def test_every_adapter_gets_a_gradient(method, architecture, topology, make_cell):
    cell = make_cell(
        method=method, architecture=architecture, peft="lora", ppo_topology=topology, seq_len=8
    )
    load = Workload(cell, 0)
    load.build()
    found = load.agreement([])
    assert found.silent_adapters == []
    assert all(norm > 0 for norm in found.signals["grad_norm"])


@pytest.mark.full
def test_tensors_without_data_are_no_memory(make_cell):
    """A compiler keeps them for good, and they say that they are on the CPU: here 40 MB each."""
    load = ready(make_cell(method="sft"))
    before = load.memory_step()
    with FakeTensorMode():
        kept = [torch.empty(10_000_000) for _ in range(3)]
    after = load.memory_step()
    assert len(kept) == 3
    assert after.peak_bytes == before.peak_bytes
    assert after.ledger == before.ledger
