"""NF4 rows that are no whole blocks: refused where bitsandbytes decodes them wrongly."""

import pytest
import torch
from saved_checkpoints import ATTENTION, SMALL
from transformers import AutoModelForCausalLM, LlamaConfig, MambaConfig

from alignmeter.architectures import open_architecture
from alignmeter.peft.nf4 import BLOCKSIZE
from alignmeter.registry import ARCHITECTURES
from alignmeter.session.resolve import resolve_cell
from alignmeter_kernels.nf4_linear.reference import dequantise

bnb = pytest.importorskip(
    "bitsandbytes.functional", reason="bitsandbytes is not installed; pip install '.[qlora]'"
)


def both_decodings(columns):
    """What bitsandbytes makes of its own packed rows on the CPU, and what they hold."""
    from bitsandbytes.nn.modules import Params4bit

    from alignmeter.peft.nf4 import nf4_weight

    weight = torch.randn(32, columns, generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Module()
    packed = Params4bit(
        weight, requires_grad=False, quant_type="nf4", blocksize=BLOCKSIZE, module=layer
    ).to("cpu")
    theirs = bnb.dequantize_4bit(packed.data, packed.quant_state)
    return theirs, dequantise(nf4_weight(packed, packed.quant_state), torch.float32), weight


@pytest.mark.parametrize("columns", [BLOCKSIZE, 3 * BLOCKSIZE])
def test_whole_blocks_are_decoded_right(columns):
    theirs, ours, weight = both_decodings(columns)
    torch.testing.assert_close(theirs, ours)
    assert (theirs - weight).abs().max() < 1.0


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="bitsandbytes takes its own kernel on CPUs with AVX-512 only; run it on one",
)
@pytest.mark.parametrize("columns", [32, 48, 96])
def test_other_rows_are_not_and_so_are_refused(columns):
    """When this fails, bitsandbytes is mended: raise its lower bound and drop `misfit` of qlora."""
    theirs, ours, weight = both_decodings(columns)
    assert (ours - weight).abs().max() < 1.0
    assert (theirs - weight).abs().max() > 1.0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packaged_sizes_have_whole_blocks(architecture):
    family = open_architecture(architecture)
    for size, shape in family.shapes.items():
        products = [p for block, _ in family.blocks(shape) for p in block.products]
        rows = {p.name: p.inputs for p in products if p.name not in family.nf4_skip}
        assert rows, size
        assert not {n: w for n, w in rows.items() if w % BLOCKSIZE}, size


def test_a_checkpoint_of_such_rows_is_refused_on_a_cpu(tmp_path):
    config = LlamaConfig(**{**SMALL, **ATTENTION, "hidden_size": 96, "intermediate_size": 192})
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    axes = {"accelerator": "cpu", "data": "synthetic", "model": str(tmp_path)}
    reason = resolve_cell({**axes, "peft": "qlora"}).unsupported
    assert reason.code == "impossible"
    assert "layers.0.mlp.gate_proj.weight" in reason.text
    assert reason.text.endswith("has rows of 96; use lora")
    assert resolve_cell({**axes, "peft": "lora"}).unsupported is None


def test_what_is_no_linear_layer_is_not_quantised_and_may_be_narrow(tmp_path):
    """mamba's ``A_log`` has 16 columns in every published checkpoint."""
    config = MambaConfig(**SMALL, state_size=16)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    axes = {"accelerator": "cpu", "data": "synthetic", "model": str(tmp_path), "peft": "qlora"}
    assert resolve_cell(axes).unsupported is None
