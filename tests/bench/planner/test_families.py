"""Plans of every family of docs/models.md, from its config alone, against the CPU's allocator."""

import gc

import families
import plans as check
import pytest
import torch
from crossed import thinned

from alignmeter.planner import predict
from alignmeter.planner.fake_tensors import without_data
from alignmeter.registry import PEFT_MODES
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.memory.cpu_events import record_events
from alignmeter.worker.workload import Workload

QUICK = {("Mixtral", "full"), ("Jamba", "lora"), ("Phi-3", "qlora")}
"""A few seconds' worth: experts, layers of two kinds, joined projections."""


def cell_of(folder, family, **axes):
    given = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16, **axes}
    more = given.pop("more", {})
    return resolve_cell({**given, "model": families.config_file(folder, family, **more)})


@pytest.mark.full
@pytest.mark.parametrize(
    ("family", "peft"),
    [
        pytest.param(family, peft, marks=() if (family, peft) in QUICK else pytest.mark.exhaustive)
        for family in families.CONFIGS
        for peft in PEFT_MODES
    ],
)
def test_a_plan_from_a_config_alone_is_within_one_per_cent(family, peft, tmp_path, launcher):
    planned = cell_of(tmp_path, family, peft=peft)
    if planned.unsupported is not None:
        assert planned.unsupported.code == "impossible"
        assert "\n" not in planned.unsupported.text
        pytest.skip(planned.unsupported.text)
    plan, measured = predict(planned.cell), check.measure(planned.cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.peak_phase == measured.phase
    assert plan.ledger["unattributed_bytes"] == 0


@pytest.mark.full
@pytest.mark.parametrize(
    "family",
    [
        "Gemma 2",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in families.CONFIGS
            if name != "Gemma 2"
        ),
    ],
)
def test_a_plan_of_a_rollout_knows_every_familys_cache(family, tmp_path, launcher):
    planned = cell_of(tmp_path, family, method="grpo", reward="length", checkpointing="on")
    plan, measured = predict(planned.cell), check.measure(planned.cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.ledger["rollout_cache_bytes"] == measured.ledger["rollout_cache_bytes"]


@pytest.mark.full
@pytest.mark.parametrize("window", thinned([12, 4, 64], every=3))
def test_a_window_fills_up_in_a_plan_as_in_a_step(window, tmp_path, launcher):
    """Shorter than the prompt, than the sequence, than nothing."""
    more = {"sliding_window": window}
    axes = {"method": "grpo", "reward": "length", "seq_len": 24, "prompt_len": 8, "batch": 8}
    cell = cell_of(tmp_path, "Gemma 2", more=more, checkpointing="on", peft="lora", **axes).cell
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.phases["rollout"] == pytest.approx(measured.phase_peaks["rollout"], rel=0.01)


@pytest.fixture
def routed(monkeypatch):
    """A function that sets Mixtral's routing: every token to the same two experts, or in turns."""
    module = pytest.importorskip("transformers.models.mixtral.modeling_mixtral")

    def set_to(*, spread):
        def forward(self, hidden, *_, **__):
            tokens = hidden.reshape(-1, hidden.shape[-1]).shape[0]
            turns = torch.arange(2 * tokens).view(tokens, 2) % 4
            index = turns if spread else torch.tensor([[0, 1]]).expand(tokens, 2)
            return hidden.new_zeros(tokens, 4), hidden.new_full((tokens, 2), 0.5), index

        monkeypatch.setattr(module.MixtralTopKRouter, "forward", forward)

    return set_to


@pytest.mark.full
def test_experts_hold_the_same_whomever_the_router_chooses(tmp_path, routed):
    cell, peaks = cell_of(tmp_path, "Mixtral", method="sft").cell, []
    for spread in (True, False):
        routed(spread=spread)
        load = Workload(cell, 0)
        load.build()
        load.step()
        with record_events() as events:
            load.step()
        peaks.append(max(peak for _, peak in events.replay()))
        del load
        gc.collect()
    assert peaks[0] == pytest.approx(peaks[1], rel=1e-3)


def test_products_of_experts_have_their_shapes_in_every_dtype():
    """Forward, and both gradients, as the CPU's kernel gives them."""
    offs = torch.tensor([2, 5, 6], dtype=torch.int32)
    for dtype in (torch.float32, torch.bfloat16):
        rows, weights = torch.randn(6, 16, dtype=dtype), torch.randn(3, 16, 8, dtype=dtype)
        wide = torch.randn(6, 8, dtype=dtype)
        pairs = [(rows, weights), (wide, weights.mT), (rows.mT, wide)]
        real = [torch._grouped_mm(a, b, offs=offs) for a, b in pairs]
        with without_data("cpu") as mode:
            made = [
                torch._grouped_mm(*map(mode.from_tensor, (a, b)), offs=mode.from_tensor(offs))
                for a, b in pairs
            ]
        for one, other in zip(real, made, strict=True):
            assert (one.shape, one.stride()) == (other.shape, other.stride())
            assert one.dtype == other.dtype == dtype
    # If this fails, torch knows these shapes itself, and `grouped_products` can go.
    meta = [torch.empty(shape, device="meta") for shape in ((6, 16), (3, 16, 8), (3,))]
    with pytest.raises(RuntimeError, match="BF16"):
        torch._grouped_mm(*meta[:2], offs=meta[2].int())
