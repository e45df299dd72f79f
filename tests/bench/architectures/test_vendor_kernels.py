"""``kernels = vendor``: other projects' kernels, all that an architecture takes or none."""

import importlib.util
import sys

import pytest

from alignmeter.architectures import open_architecture, vendor_missing
from alignmeter.cells.matrix import Choice
from alignmeter.methods import open_setup
from alignmeter.registry import ARCHITECTURES
from alignmeter.session import resolve_plan
from alignmeter.session.resolve import resolve_cell
from alignmeter_kernels.paths import paths_run


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_says_what_it_takes(architecture):
    vendor = open_architecture(architecture).vendor
    assert set(vendor.operators.values()) <= set(vendor.packages)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cpu_cell_is_unsupported_with_the_reason(architecture):
    axes = {"architecture": architecture, "kernels": "vendor", "accelerator": "cpu"}
    (planned,) = resolve_plan([Choice(axes=axes)])
    assert planned.unsupported.code == "library_missing"
    assert "have no kernels for cpu; use kernels = custom or stock" in planned.unsupported.text


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(
        "alignmeter.architectures.vendor.find_spec",
        lambda name: None if name == "flash_attn" else importlib.util.find_spec("json"),
    )
    vendor = open_architecture("llama").vendor
    text = vendor_missing(vendor, "llama", "cuda")
    assert text == "flash-attn not installed; pip install 'alignmeter[vendor-kernels]'"
    monkeypatch.setattr("alignmeter.architectures.vendor.find_spec", lambda _: True)
    assert vendor_missing(vendor, "llama", "rocm") is None


def test_an_architecture_without_them_says_so():
    assert "no other project's kernels are wired for rwkv" in vendor_missing(None, "rwkv", "cuda")


def test_llama_takes_liger_and_flash_attention(monkeypatch):
    """Liger itself is patched in; of flash-attn only the choice can be seen without a GPU."""
    pytest.importorskip("liger_kernel", reason="pip install liger-kernel")
    import torch
    from transformers.models.llama import modeling_llama

    for name in ("apply_rotary_pos_emb", "LlamaRMSNorm", "LlamaMLP"):
        monkeypatch.setattr(modeling_llama, name, getattr(modeling_llama, name))
    chosen = []
    monkeypatch.setattr(
        modeling_llama.LlamaForCausalLM,
        "set_attn_implementation",
        lambda _, name: chosen.append(name),
    )
    monkeypatch.setattr(
        "alignmeter.architectures.vendor.metadata.version", lambda package: f"of {package}"
    )
    axes = {"kernels": "vendor", "accelerator": "cpu", "data": "synthetic", "seq_len": 16}
    policy = open_setup(resolve_cell(axes).cell, torch.device("cpu"), seed=0).policy()
    layer = policy.model.layers[0]
    assert "LigerRMSNorm" in repr(layer.input_layernorm)
    assert layer.mlp.forward.__func__.__qualname__ == "LigerSwiGLUMLP.forward"
    assert chosen == ["flash_attention_2"]
    assert paths_run()["attention"] == "flash_attn of flash-attn"
    assert "liger_kernel" in sys.modules
