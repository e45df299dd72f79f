"""Levers: one axis changed, what follows from it changed too, and nothing that contradicts."""

import pytest

from alignmeter.cells.axes import AXES
from alignmeter.planner.levers import changed_cell, lever_cells
from alignmeter.registry import LEVERS


def levers(cell):
    return {(axis, value): changed for axis, value, changed in lever_cells(cell)}


def test_levers_are_values_of_axes():
    for axis, values in LEVERS.items():
        assert set(values) <= set(AXES[axis].choices)


def test_a_dpo_step_with_all_weights_has_these(make_cell):
    """`adapter-off` contradicts full, `loss_head` is there already, PPO's axes are not DPO's."""
    cell = make_cell(method="dpo", accelerator="cuda", batch=8)
    assert set(levers(cell)) == {
        ("peft", "lora"), ("peft", "qlora"), ("checkpointing", "on"), ("ref", "precomputed"),
        ("optimizer", "adamw-8bit"), ("optimizer", "paged-adamw-8bit"), ("optimizer", "adafactor"),
        ("precision", "bf16"), ("microbatches", 8), ("batch", 4), ("batch", 1),
    }  # fmt: skip


def test_what_follows_from_a_lever_changes_with_it(make_cell):
    """Adapters come with their own ref_model and precision, unless a cell has others."""
    cell = make_cell(method="dpo", accelerator="cuda")
    lora = levers(cell)["peft", "lora"]
    assert (cell.ref, cell.precision) == ("resident", "bf16-mixed")
    assert (lora.ref, lora.precision) == ("adapter-off", "bf16-base")
    chosen = make_cell(method="dpo", accelerator="cuda", ref="precomputed")
    assert levers(chosen)["peft", "lora"].ref == "precomputed"
    assert changed_cell(cell, seq_len=100).cell.prompt_len == 50


@pytest.mark.parametrize(
    ("axes", "wanted"),
    [
        ({"method": "ppo", "ppo_backward": "joint"}, {("ppo_topology", "shared"),
                                                      ("ppo_backward", "sequential")}),
        ({"method": "sft", "loss_head": "logits", "rows": 5}, {("loss_head", "own"), ("rows", 2),
                                                               ("rows", 1), ("microbatches", 5)}),
        ({"method": "sft", "optimizer_impl": "foreach"}, {("optimizer_impl", "fused")}),
        ({"method": "sft", "peft": "qlora", "embeddings": "float32"}, {("embeddings", "base")}),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) and
    all(isinstance(v, str) for v in value.values()) else None,
)  # fmt: skip
def test_levers_of_other_cells(axes, wanted, make_cell):
    found = levers(make_cell(accelerator="cuda", **axes))
    assert wanted <= set(found)
    assert len({cell.id for cell in found.values()}) == len(found)
