"""Weights that qlora does not pack, in fp32."""

from itertools import product

import plans as check
import pytest
import torch

from alignmeter.architectures import open_architecture
from alignmeter.methods import open_setup
from alignmeter.peft.adapters import adapter_parameters
from alignmeter.planner import predict
from alignmeter.registry import ARCHITECTURES
from alignmeter.session.resolve import resolve_cell

pytest.importorskip("bitsandbytes")
AXES = {"method": "sft", "peft": "qlora", "precision": "bf16-base", "embeddings": "float32"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_that_is_not_packed_is_fp32(architecture, make_cell):
    cell = make_cell(**AXES, architecture=architecture)
    policy = open_setup(cell, torch.device("cpu"), seed=0).policy()
    names = {name for name, p in policy.named_parameters() if p.dtype == torch.uint8}
    skip = open_architecture(architecture).nf4_skip
    assert names
    assert not any(name.split(".")[-2] in skip for name in names)
    kept = {name: p for name, p in policy.named_parameters() if name not in names}
    assert {p.dtype for p in kept.values()} == {torch.float32}
    adapters = adapter_parameters(policy)
    assert {name for name, p in kept.items() if p.requires_grad} == set(adapters)
    assert policy.get_output_embeddings().weight is policy.get_input_embeddings().weight


@pytest.mark.full
@pytest.mark.parametrize(
    ("architecture", "kernels"),
    [
        pytest.param(*row, marks=() if row == ("llama", "custom") else pytest.mark.exhaustive)
        for row in product(ARCHITECTURES, ("custom", "stock"))
    ],
)
def test_a_plan_knows_wide_embeddings(architecture, kernels, make_cell, launcher):
    cell = make_cell(**AXES, architecture=architecture, kernels=kernels)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    for owner in ("policy_weights", "quantisation_state", "adapters"):
        assert plan.ledger[f"{owner}_bytes"] == measured.ledger[f"{owner}_bytes"]
    narrow = predict(make_cell(**AXES | {"embeddings": "base"}, architecture=architecture))
    assert plan.ledger["policy_weights_bytes"] > narrow.ledger["policy_weights_bytes"]


def test_where_the_base_is_fp32_there_is_nothing_to_widen(make_cell):
    planned = resolve_cell({"accelerator": "cpu", "peft": "qlora", "embeddings": "float32"})
    assert planned.unsupported.text == (
        "what is not packed is fp32 with precision fp32 anyway; use base"
    )
    assert make_cell(peft="lora", embeddings="float32") == make_cell(peft="lora")
