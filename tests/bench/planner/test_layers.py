"""Plans from two shallow traces: the same as of all layers, or none."""

from importlib import import_module

import pytest
from allpairspy import AllPairs
from saved_checkpoints import CONFIGS

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.planner import layers, predict, trace
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES

CELLS = (
    {"method": "ppo", "ppo_topology": "shared", "ppo_backward": "joint"},
    *(
        pytest.param(axes, marks=pytest.mark.exhaustive)
        for axes in (
            {"method": "sft"},
            {"method": "sft", "loss_head": "logits", "optimizer_impl": "single", "microbatches": 2},
            {"method": "dpo", "peft": "qlora", "checkpointing": "on"},
            {"method": "kto", "architecture": "mamba2", "peft": "lora"},
        )
    ),
)


@pytest.fixture(scope="module", autouse=True)
def imported():
    """Before a first trace, as `plan_peak` does: some libraries run operators when imported."""
    import_module("alignmeter.worker.preload")


def check(cell):
    """Every figure but that of the allocator's segments."""
    found, whole = layers.predict_peak(cell), predict(cell)
    for name in ("peak_bytes", "peak_phase", "phases", "ledger", "trained_parameters", "demand"):
        assert getattr(found, name) == getattr(whole, name), name
    assert (found.reserved_bytes is None) == (layers.alike_layers(cell) is not None)


@pytest.mark.full
@pytest.mark.parametrize("axes", CELLS, ids=lambda axes: "-".join(map(str, axes.values())))
def test_two_shallow_traces_say_what_a_whole_one_does(axes, make_cell):
    check(make_cell(size="130m", accelerator="cuda", kernels="custom", seq_len=64, **axes))


@pytest.mark.full
def test_the_largest_moment_may_be_another_one_in_a_deep_model(make_cell):
    """With 4 layers it is at the logits, with 12 where all their gradients are there."""
    cell = make_cell(
        size="130m",
        method="sft",
        accelerator="cuda",
        seq_len=224,
        loss_head="logits",
        checkpointing="on",
    )
    shallow, whole = trace.trace(cell, layers=4).prediction(), predict(cell)
    assert shallow.peak_operator != whole.peak_operator
    check(cell)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("method", "architecture", "peft", "checkpointing"),
    [tuple(row) for row in AllPairs([[*METHODS], [*ARCHITECTURES], [*PEFT_MODES], ["off", "on"]])],
)
def test_so_in_every_method_architecture_and_mode(
    method, architecture, peft, checkpointing, make_cell
):
    axes = {"method": method, "architecture": architecture, "peft": peft}
    check(
        make_cell(
            size="130m", accelerator="cuda", kernels="custom", seq_len=64,
            checkpointing=checkpointing, **axes,
        )
    )  # fmt: skip


def named(*passes):
    """Operators as they are told apart; a digit is one that a layer has, a letter one outside."""
    return list("".join(passes))


def test_operators_are_at_the_same_place_from_a_passs_first_or_last_layer():
    """Two layers of three operators, then three: the middle layer is nobody's."""
    one, more = named("a", "123" * 2, "b"), named("a", "123" * 3, "b")
    assert layers._aligned(one, more) == [
        (0, 0), (1, 1), (2, 2), (3, 3), (4, 7), (5, 8), (6, 9), (7, 10),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "more"),
    [
        (named("a", "12" * 4, "34" * 4, "b"), named("a", "12" * 5, "34" * 5, "b")),
        (named("a", "12" * 4, "b"), named("a", "12" * 3, "13" * 2, "b")),
        (named("a", "12" * 4, "b"), named("b", "12" * 5, "a")),
        (named("a", "1234", "b"), named("a", "12534", "b")),
    ],
    ids=["two passes as one", "another layer", "another order", "no layer comes again"],
)
def test_what_cannot_be_told_is_not_guessed(one, more):
    assert layers._aligned(one, more) is None


def test_layers_that_are_not_known_to_be_alike_are_all_traced(make_cell, tmp_path, monkeypatch):
    """A wider teacher, blocks or a list of two kinds; and a shallow model costs less whole."""
    deep = make_cell(size="130m", method="distill")
    assert layers.alike_layers(deep) == 12
    assert layers.alike_layers(make_cell(size="130m", method="distill", teacher="370m")) is None
    assert layers.alike_layers(make_cell(size="130m", method="sft", architecture="hybrid")) is None
    folder = tmp_path / "qwen2"
    config = CONFIGS["qwen2"]()
    config.save_pretrained(folder)
    found = find_checkpoint(str(folder))
    cell = make_cell(method="sft", model=str(folder))
    assert layers.alike_layers(cell) == found.layers
    kinds = ["full_attention"] * (found.layers - 1) + ["sliding_attention"]
    shape = {**found.shape(), "layer_types": kinds}
    monkeypatch.setattr(layers, "shape_of", lambda _: shape)
    assert layers.alike_layers(cell) is None
    tiny = make_cell(method="sft")
    assert layers.predict_peak(tiny) == predict(tiny)


@pytest.mark.full
@pytest.mark.parametrize(("depth", "whole"), [(64, True), (65, False)])
def test_a_deeper_model_is_planned_soon(depth, whole, make_cell, tmp_path):
    config = CONFIGS["llama"]()
    config.num_hidden_layers = depth
    config.save_pretrained(tmp_path)
    cell = make_cell(method="sft", model=str(tmp_path), accelerator="cuda")
    found = layers.predict_soon(cell)
    assert (found.reserved_bytes is not None) is whole
    if not whole:
        check(cell)
