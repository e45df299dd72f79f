"""Weights of a checkpoint that come block by block: those that a load of the whole gives."""

import pytest
import torch
from rank_pair import cell_of
from safetensors.torch import load_file, save_file
from torch import nn

from alignmeter.architectures import architecture_of
from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.architectures.checkpoint.late import unread
from alignmeter.architectures.late_weights import Form, late_of
from alignmeter.errors import CellError
from alignmeter.peft import open_peft
from alignmeter.peft.nf4 import quantisation_tensors
from alignmeter.registry import ARCHITECTURES

CPU = torch.device("cpu")


def blocks_of(model):
    return [
        block
        for child in model.base_model.children()
        if isinstance(child, nn.ModuleList)
        for block in child
    ]


def unread_of(checkpoint, looked, dtype=torch.float32, form=None):
    return unread(
        checkpoint.config, checkpoint.files, dtype=dtype, device=CPU, looked=looked, form=form
    )


def read_late(checkpoint, dtype=torch.float32, form=None):
    """The model with its weights, and what was seen of them."""
    seen = []
    model = unread_of(checkpoint, seen.append, dtype, form)
    assert all(p.untyped_storage().nbytes() == 0 for p in model.parameters())
    late = late_of(model.base_model)
    for block in blocks_of(model):
        late.fill(block)
        assert all(p.untyped_storage().nbytes() > 0 for p in block.parameters())
    late.fill(None)
    return model, seen


def assert_same_tensors(late, whole):
    wanted = dict([*whole.named_parameters(), *whole.named_buffers()])
    found = dict([*late.named_parameters(), *late.named_buffers()])
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_and_buffer_is_that_of_the_whole(architecture, dtype, checkpoints):
    for folder in checkpoints[architecture]:
        checkpoint = find_checkpoint(str(folder))
        whole = checkpoint.build(dtype=dtype).to(dtype)  # as a cell's backbones are
        late, seen = read_late(checkpoint, dtype)
        assert_same_tensors(late, whole)
        assert len(seen) == len(blocks_of(late)) + 1
        ids = torch.arange(12).reshape(1, 12)
        with torch.no_grad():
            assert torch.equal(late.eval()(ids).logits, whole(ids).logits)


@pytest.mark.parametrize("embeddings", ["base", "float32"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_weights_are_those_of_the_whole(architecture, embeddings, checkpoints):
    """With their scales; what is not packed is as wide as where the whole was packed."""
    dtype = torch.bfloat16
    axes = {"architecture": architecture, "peft": "qlora", "embeddings": embeddings}
    cell = cell_of({**axes, "precision": "bf16", "method": "sft"})
    row, mode = architecture_of(cell), open_peft("qlora")
    form = Form(store=lambda part: mode.store(part, row, cell), settle=mode.settle)
    checkpoint = find_checkpoint(str(checkpoints[architecture][0]))
    whole = form.store(checkpoint.build(dtype=dtype).to(dtype)).to(CPU)
    late, seen = read_late(checkpoint, dtype, form)
    assert_same_tensors(late, whole)
    scales = list(zip(quantisation_tensors(late), quantisation_tensors(whole), strict=True))
    assert len(scales) > 0
    assert all(torch.equal(mine, other) for mine, other in scales)
    assert len(seen) == len(blocks_of(late)) + 1


@pytest.fixture
def renewed(tmp_path, checkpoints):
    """A copy of a Llama's folder, its tensors passed through a function."""

    def write(change):
        source = checkpoints["llama"][0]
        tensors = load_file(source / "model.safetensors")
        (tmp_path / "config.json").write_text((source / "config.json").read_text())
        save_file(change(tensors), tmp_path / "model.safetensors", {"format": "pt"})
        return tmp_path

    return write


def test_names_that_are_not_the_model_s_own_are_read_whole(renewed):
    """A base model's, which transformers finds its place for."""
    folder = renewed(lambda found: {name.removeprefix("model."): t for name, t in found.items()})
    checkpoint = find_checkpoint(str(folder))
    assert checkpoint.build(dtype=torch.float32) is not None
    assert unread_of(checkpoint, print) is None


def test_what_cannot_be_right_is_seen_in_the_block_that_has_it(renewed):
    name = "model.layers.1.mlp.up_proj.weight"

    def spoil(tensors):
        tensors[name][0, 0] = torch.nan
        return tensors

    _, seen = read_late(find_checkpoint(str(renewed(spoil))))
    assert [found.not_finite for found in seen if found.not_finite] == [(name,)]


def test_a_file_that_changed_meanwhile_is_a_reason(renewed):
    checkpoint = find_checkpoint(str(renewed(dict)))
    model = unread(
        checkpoint.config, checkpoint.files, dtype=torch.float32, device=CPU, looked=print
    )
    renewed(lambda found: {name: t[:1].clone() for name, t in found.items()})
    with pytest.raises(CellError, match=r"cannot be read from model.safetensors: .* shape"):
        late_of(model.base_model).fill(blocks_of(model)[0])
