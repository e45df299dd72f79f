"""Architectures and PEFT modes: sizes, gradients, and bitsandbytes' silent corruption."""

import pytest
import torch

from alignmeter.architectures import ScalarModel, open_architecture
from alignmeter.architectures.positions import decoding_positions
from alignmeter.architectures.precision import precision_of, without_frozen_base
from alignmeter.errors import InputError
from alignmeter.methods import open_setup
from alignmeter.peft import adapters_off, open_peft
from alignmeter.peft.adapters import adapter_parameters
from alignmeter.peft.nf4 import quantisation_tensors
from alignmeter.registry import ARCHITECTURES
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.rollout import decoding_cache

CPU = torch.device("cpu")
FAMILIES = list(ARCHITECTURES)

# DESIGN's size table, in millions of parameters.
PARAMETERS = {
    "tiny": {"hybrid": 1.081, "mamba": 1.105, "mamba2": 1.103, "llama": 1.095},
    "130m": {"hybrid": 128.4, "mamba": 129.1, "mamba2": 129.0, "llama": 128.9},
    "370m": {"hybrid": 370.3, "mamba": 371.5, "mamba2": 368.3, "llama": 369.3},
    "1.4b": {"hybrid": 1356.4, "mamba": 1372.2, "mamba2": 1343.7, "llama": 1355.1},
    "2.8b": {"hybrid": 2726.4, "mamba": 2768.3, "mamba2": 2702.6, "llama": 2729.4},
    "8b": {"hybrid": 8018.6, "mamba": 8001.3, "mamba2": 8067.6, "llama": 8030.3},
}


@pytest.mark.parametrize("size", PARAMETERS)
def test_sizes_match_across_families(size):
    counts = {family: open_architecture(family).parameters(size) for family in FAMILIES}
    for family, found in counts.items():
        assert found / 1e6 == pytest.approx(PARAMETERS[size][family], abs=0.06)
        assert abs(found / counts["llama"] - 1) <= 0.02


def test_unknown_names_list_the_known_ones():
    with pytest.raises(InputError, match="known: llama, mamba"):
        open_architecture("rwkv")
    with pytest.raises(InputError, match="known: full, lora, qlora"):
        open_peft("dora")
    with pytest.raises(InputError, match="known: tiny, 130m"):
        open_architecture("llama").shape("7b")
    with pytest.raises(InputError, match="known: fp32"):
        precision_of("fp8")


def test_a_format_for_a_frozen_base_names_those_that_need_none():
    assert [without_frozen_base(name, "full") for name in ("fp32", "bf16-mixed", "bf16")] == [
        None
    ] * 3
    text = "full has no frozen base to keep in bf16-base; use bf16-mixed or bf16"
    assert without_frozen_base("bf16-base", "full") == text


@pytest.mark.parametrize("family", FAMILIES)
def test_one_seed_gives_one_set_of_weights(family):
    build = open_architecture(family).build
    first, again, other = (build("tiny", seed=s, dtype=torch.float32) for s in (1, 1, 2))
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_decoding_equals_the_full_forward(family, make_cell):
    setup = open_setup(make_cell(architecture=family), CPU, seed=0)
    model = setup.policy().eval()
    ids = torch.randint(3, 500, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(input_ids=ids[:, :8], use_cache=True)
        for t in range(8, 12):
            argument, cache = decoding_cache(output)
            token = ids[:, t : t + 1]
            told = decoding_positions(model, token, t)
            output = model(input_ids=token, use_cache=True, **{argument: cache}, **told)
        full = model(input_ids=ids).logits[:, -1]
    # fp32 in another order of summation over a few hundred terms of size 1
    torch.testing.assert_close(output.logits[:, -1], full, rtol=0, atol=5e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_right_padding_does_not_reach_back(family, make_cell):
    """Why batches need no attention mask: both families are causal."""
    model = open_setup(make_cell(architecture=family), CPU, seed=0).policy().eval()
    ids = torch.randint(3, 500, (1, 12), generator=torch.Generator().manual_seed(0))
    padded = ids.clone()
    padded[:, 9:] = 0
    with torch.no_grad():
        full, cut = model(input_ids=ids).logits, model(input_ids=padded).logits
    torch.testing.assert_close(full[:, :9], cut[:, :9], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_scalar_model_scores_every_token(family):
    causal = open_architecture(family).build("tiny", seed=0, dtype=torch.float32)
    scores = ScalarModel(causal, seed=0, dtype=torch.float32)(torch.full((2, 5), 7))
    assert scores.shape == (2, 5)
    assert scores.dtype == torch.float32
    scores.sum().backward()


@pytest.mark.parametrize("peft", ["lora", "qlora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_adapters_train_and_off_means_the_base_model(family, peft, make_cell):
    cell = make_cell(architecture=family, peft=peft)
    setup = open_setup(cell, CPU, seed=0)
    model = setup.policy()
    adapters = adapter_parameters(model)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == set(adapters)
    assert {n.split(".lora_")[0].rpartition(".")[2] for n in adapters} == set(
        setup.architecture.lora_targets
    )
    ids = torch.randint(3, 500, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in adapters.items():
            if ".lora_B." in name:
                parameter.add_(0.05)
        base = setup.peft.store(
            setup.architecture.build("tiny", seed=0, dtype=torch.float32), setup.architecture, cell
        ).to(CPU)
        changed = response_logprobs(model, ids, 8)
        expected = response_logprobs(base, ids, 8)
        with adapters_off(model):
            off = response_logprobs(model, ids, 8)
    torch.testing.assert_close(off, expected)
    assert not torch.allclose(changed, expected, atol=1e-3)
    assert all(p.requires_grad for p in adapters.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_nf4_keeps_its_block_size_and_skips_raw_weights(family, make_cell):
    from bitsandbytes.nn import Linear4bit

    setup = open_setup(make_cell(architecture=family, peft="qlora"), CPU, seed=0)
    model = setup.policy()
    packed = {n: m for n, m in model.named_modules() if isinstance(m, Linear4bit)}
    assert packed
    for name, module in packed.items():
        last = name.removesuffix(".base_layer").rpartition(".")[2]
        assert last not in setup.architecture.nf4_skip
        state = module.weight.quant_state
        assert (state.quant_type, state.blocksize, state.nested) == ("nf4", 64, True)
        assert module.weight.dtype == torch.uint8
    assert sum(t.numel() for t in quantisation_tensors(model)) > 0


def loss_and_gradients(model, ids):
    loss = -response_logprobs(model, ids, 8).mean()
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in adapter_parameters(model).items()}
    model.zero_grad(set_to_none=True)
    return loss.detach(), gradients


@pytest.mark.parametrize("kernels", ["stock", "custom"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_eval_pass_leaves_qlora_training_alone(family, kernels, make_cell):
    """bitsandbytes 0.50 repacks NF4 weights in the first no-grad eval forward on AVX512-BF16 CPUs.

    Where the CPU has no such instructions, the test holds trivially; where it has, it fails if
    the guard in `alignmeter.peft.nf4` goes.
    """
    cell = make_cell(architecture=family, peft="qlora", kernels=kernels)
    model = open_setup(cell, CPU, seed=0).policy()
    with torch.no_grad():
        for name, parameter in adapter_parameters(model).items():
            if ".lora_B." in name:
                parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
    ids = torch.randint(3, 500, (2, 16), generator=torch.Generator().manual_seed(0))
    before = loss_and_gradients(model, ids)
    model.eval()
    with torch.no_grad():
        response_logprobs(model, ids, 8)
    model.train()
    after = loss_and_gradients(model, ids)
    assert torch.equal(before[0], after[0])
    assert all(torch.equal(before[1][n], after[1][n]) for n in before[1])
    assert all(g.abs().max() > 0 for g in after[1].values())
