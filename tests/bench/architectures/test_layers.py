"""Which layers a check keeps, and that a hybrid's sizes have both kinds as Bamba has them."""

import pytest
import torch

from alignmeter.architectures import open_architecture
from alignmeter.architectures.layers import ATTENDING, cut_places, kept_layers
from alignmeter.session.findings.bands import compare
from alignmeter.worker.agreement import make_reference
from alignmeter.worker.workload import Workload


@pytest.mark.parametrize(
    ("attending", "layers", "kept", "places"),
    [
        ([], 2, [0, 1], []),
        ([9, 18, 27], 2, [0, 9], [1]),
        ([9, 18, 27], 1, [9], [0]),
        ([9, 18, 27], 12, [*range(12)], [9]),
        ([1], 2, [0, 1], [1]),
        ([0, 2], 2, [0, 1], [0]),
    ],
)
def test_the_last_that_is_kept_attends_if_no_other_does(attending, layers, kept, places):
    assert kept_layers(attending, layers) == kept
    assert cut_places(attending, layers) == places


@pytest.mark.parametrize("size", ["1.4b", "8b"])
def test_a_size_above_370m_is_checked_with_a_layer_of_each_kind(size):
    family = open_architecture("hybrid")
    with torch.device("meta"):
        model = family.build(size, seed=0, dtype=torch.float32, layers=2)
    kinds = [layer.block_type for layer in model.model.layers]
    assert kinds == ["linear_attention", "full_attention"]


@pytest.mark.parametrize("size", ["130m", "370m", "1.4b", "2.8b", "8b"])
def test_every_ninth_layer_attends(size):
    """Bamba-9B's are 9, 18 and 27 of 32."""
    shape = open_architecture("hybrid").shape(size)
    wanted = [9, 18, 27]
    assert shape[ATTENDING] == [place for place in wanted if place < shape["num_hidden_layers"]]
    assert 9 <= shape["num_hidden_layers"] / len(shape[ATTENDING]) <= 12


def test_8b_is_bamba_but_for_mlp_and_vocabulary():
    """Bamba-9B as Foundation Model Stack has it (fms/models/bamba.py, ``_bamba_9_8b_config``)."""
    shape = open_architecture("hybrid").shape("8b")
    published = {
        "hidden_size": 4096, "num_hidden_layers": 32, ATTENDING: [9, 18, 27],
        "num_attention_heads": 32, "num_key_value_heads": 8, "mamba_n_heads": 128,
        "mamba_d_head": 64, "mamba_n_groups": 1, "mamba_d_state": 128, "mamba_d_conv": 4,
        "mamba_expand": 2, "mamba_chunk_size": 256, "tie_word_embeddings": False,
        "vocab_size": 128256,
    }  # fmt: skip
    assert published.items() <= shape.items()
    assert shape["intermediate_size"] < 14336


@pytest.mark.parametrize("method", ["dpo", pytest.param("ppo", marks=pytest.mark.exhaustive)])
def test_a_hybrid_cut_to_a_layer_of_each_kind_agrees_with_its_reference(method, make_cell):
    cell = make_cell(architecture="hybrid", method=method, kernels="custom")
    reference = make_reference(cell, 0, 2, rounded=False)
    observed = Workload(cell, 0).sliced_agreement(2, reference.rollouts)
    assert [s.name for s in compare(observed.signals, reference, cell) if not s.agrees] == []
