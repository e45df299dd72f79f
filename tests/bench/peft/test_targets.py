"""Which layers get adapters, and what of their inputs is dropped when."""

import pytest
import torch

from alignmeter.architectures import open_architecture
from alignmeter.batches import open_batches
from alignmeter.cells.values import check_value
from alignmeter.errors import InputError
from alignmeter.methods import open_method, open_setup
from alignmeter.peft.adapters import adapter_parameters
from alignmeter.registry import ARCHITECTURES, LORA_TARGETS
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe
from alignmeter.worker.agreement import checked_cell

CPU = torch.device("cpu")


def adapted(cell):
    """Last names of the policy's adapted layers."""
    names = adapter_parameters(open_setup(cell, CPU, seed=0).policy())
    return {name.split(".lora_")[0].rpartition(".")[2] for name in names}


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("qv", {"q_proj", "v_proj"}),
        ("mlp", {"gate_proj", "up_proj", "down_proj"}),
        ("o_proj+up_proj", {"o_proj", "up_proj"}),
    ],
)
def test_the_layers_that_are_named_get_adapters(targets, layers, make_cell):
    assert adapted(make_cell(peft="lora", lora_targets=targets)) == layers


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_preset_is_of_layers_that_can_or_says_which_can(architecture, make_cell):
    have = open_architecture(architecture).lora_targets
    for preset, names in LORA_TARGETS.items():
        planned = resolve_cell(
            {"accelerator": "cpu", "peft": "lora", "architecture": architecture,
             "lora_targets": preset}
        )  # fmt: skip
        if not names or set(names) & set(have):
            assert planned.unsupported is None
        else:
            assert planned.unsupported.code == "impossible"
            assert planned.unsupported.text == (
                f"{architecture} has no lora_targets {preset} that can get adapters; it has "
                f"{', '.join(have)} (lora_targets all-linear)"
            )


@pytest.mark.parametrize("peft", ["lora", "qlora"])
def test_a_layer_that_is_spelt_out_has_to_be_there(peft):
    planned = resolve_cell({"accelerator": "cpu", "peft": peft, "lora_targets": "q_proj+x_proj"})
    assert planned.unsupported.text.startswith("llama has no x_proj that can get adapters; it has")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("lora_targets", "v_proj+q_proj+v_proj", "q_proj+v_proj"),
        ("lora_targets", "qv", "qv"),
        ("lora_dropout", "0.050", "0.05"),
        ("lora_dropout", 0.1, "0.1"),
        ("lora_dropout", 0, "0"),
    ],
)
def test_one_choice_is_one_value(name, given, value):
    assert check_value(name, given, "m.toml") == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("lora_targets", "atention"), ("lora_targets", "q_proj,v_proj"),
        ("lora_targets", "q_proj+"), ("lora_dropout", "1"), ("lora_dropout", "-0.1"),
        ("lora_dropout", "nan"), ("lora_dropout", True), ("lora_dropout", "much"),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(name, given):
    with pytest.raises(InputError, match=f"m.toml: .* is not a value of {name}; "):
        check_value(name, given, "m.toml")


def test_full_fine_tuning_has_neither(make_cell):
    assert make_cell(lora_targets="qv", lora_dropout="0.1") == make_cell()


def test_only_passes_that_train_drop(make_cell):
    """The loss is another one from the step on in which the adapters are no zeros."""
    cell = make_cell(method="sft", peft="lora", lora_dropout="0.5")
    plain = make_cell(method="sft", peft="lora")
    losses = []
    for one in (cell, plain):
        setup = open_setup(one, CPU, seed=0)
        step, batches = open_method("sft").build(setup), open_batches(one, vocab_size=512, seed=0)
        batch = batches.take(0, CPU, "chosen")
        losses.append([float(step.run(batch, SilentProbe()).loss) for _ in range(2)])
        with torch.no_grad():
            first, second = (step.logprobs(step.policy, batch.ids, batch.where) for _ in range(2))
        assert torch.equal(first, second)
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_the_agreement_check_drops_nothing(make_cell):
    cell = make_cell(peft="lora", lora_dropout="0.1")
    assert checked_cell(cell).axes() == make_cell(peft="lora").axes()
