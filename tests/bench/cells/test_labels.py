"""A cell in words: what tells it apart, and what a version that does not know it says."""

import pytest
from msgspec.structs import replace

from alignmeter.cells import labels
from alignmeter.cells.axes import AXES
from alignmeter.cells.labels import axis_text, cell_text, layout_text, layouts, varied
from alignmeter.registry import METHODS, MethodRow


@pytest.fixture
def ppo(make_cell):
    return make_cell(method="ppo", peft="lora", ppo_topology="shared", seq_len=128, batch=3)


def test_the_layout_is_that_of_the_methods_row(make_cell, ppo, monkeypatch):
    assert layout_text(ppo) == "shared, sequential"
    assert layout_text(make_cell(method="dpo", dpo_loss="ipo")) == ""
    assert layout_text(make_cell(method="grpo")) == "kl 0, reward model"
    assert layout_text(make_cell(method="sft")) == ""
    assert layout_text(replace(ppo, method="of_tomorrow")) == ""
    assert layouts("ppo") == ["separate, sequential", "separate, joint",
                              "shared, sequential", "shared, joint"]  # fmt: skip
    assert layouts("sft") == layouts("of_tomorrow") == []
    assert layouts("rloo") == [f"reward {name}" for name in AXES["reward"].choices]
    row = MethodRow(path="", layout=("ref", "ppo_backward"))
    monkeypatch.setattr(labels, "METHODS", {**METHODS, "of_tomorrow": row})
    assert layout_text(replace(ppo, method="of_tomorrow")) == "ref adapter-off, sequential"
    assert len(layouts("of_tomorrow")) == 6


def test_a_cell_is_told_by_what_is_off_its_default(make_cell, ppo):
    assert cell_text(make_cell(kernels="custom")) == ("DPO, llama, tiny, full, T 16, B 2")
    assert cell_text(ppo) == "PPO, llama, tiny, LoRA, shared, sequential, stock kernels, T 128, B 3"
    special = replace(ppo, checkpointing="on", lane="fast", ppo_epochs=4)
    assert cell_text(special, without=("method", "size", "batch")) == (
        "llama, LoRA, shared, sequential, 4 x 1 passes, stock kernels, checkpointed, T 128, fast"
    )


def test_variants_and_groups_are_told_where_they_are_not_the_usual_ones(make_cell):
    def text(**axes):
        return cell_text(make_cell(kernels="custom", **axes), without=("size", "batch", "seq_len"))

    assert text(dpo_loss="ipo") == "DPO, llama, full, ipo"
    assert text(method="grpo") == "GRPO, llama, full, kl 0, reward model"
    assert text(method="grpo", grpo_variant="dapo", group=4, kl="k3") == (
        "GRPO, llama, full, kl k3, reward model, dapo, G 4"
    )
    assert text(method="rloo", dpo_loss="ipo") == "RLOO, llama, full, reward model"


def test_an_axis_that_the_cell_does_not_have_is_a_dash(make_cell, ppo):
    full = make_cell(method="sft", checkpointing="on")
    assert [axis_text(full, name) for name in ("method", "batch", "checkpointing")] == [
        "sft", "batch 2", "checkpointing on",
    ]  # fmt: skip
    assert {axis_text(full, name) for name in ("ref", "ppo_topology", "lora_rank")} == {"-"}
    assert axis_text(ppo, "ppo_topology") == "shared"
    assert axis_text(ppo, "lora_rank") == "lora_rank 16"
    assert axis_text(replace(ppo, method="of_tomorrow"), "ppo_topology") == "shared"


def test_what_varies_is_named_in_the_order_of_the_axes(ppo):
    others = [ppo, replace(ppo, batch=4), replace(ppo, seq_len=64, batch=4)]
    assert varied(others) == ["seq_len", "batch"]
    assert varied(others, ["batch", "peft"]) == ["batch"]
    assert varied([]) == []
