"""FLOPs against counts by hand and PaLM's formula, and MFU."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from transformers import MistralConfig

from alignmeter.analysis.chips import peak
from alignmeter.analysis.roofline import MeasuredCeilings, bound_of, ceilings_of
from alignmeter.architectures import open_architecture
from alignmeter.methods import open_method
from alignmeter.peft import PeftMode, open_peft
from alignmeter.records.record import Provenance
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES, load
from alignmeter.session.findings.assemble import assemble
from alignmeter.session.findings.found import Findings
from alignmeter.session.findings.ranks import RanksFound
from alignmeter.session.findings.step_flops import (
    network_of,
    shape_of,
    step_demand,
    step_flops,
    uncounted,
)
from alignmeter.session.findings.utilisation import utilisation
from alignmeter.session.sampling import Sampling
from alignmeter.worker.messages import MemoryProfile, Sent, StepReport, StepSpans

H100 = Provenance(
    device="NVIDIA H100 80GB HBM3",
    form_factor="SXM",
    power_cap_w=700.0,
    device_memory_bytes=85_000_000_000,
)


def test_everything_that_can_be_chosen_is_counted(make_cell):
    for name in METHODS:
        assert open_method(name).passes is not None
    for name in ARCHITECTURES:
        architecture = open_architecture(name)
        for mode in PEFT_MODES:
            assert open_peft(mode).trained(architecture, make_cell(peft=mode)) is not None
        blocks = architecture.blocks(architecture.shape("tiny"))
        products = [product for block, _ in blocks for product in block.products]
        first = {product.name for product in products if product.first}
        assert first <= set(architecture.lora_targets) <= {product.name for product in products}


def test_llama_by_hand(make_cell):
    """tiny: 3 layers of width 192, 4 heads of 48, MLP 320, 512 ids. 2 rows of 8 tokens, 4 answers.

    A layer, 16 tokens: q, k, v, o 2 x 16 x 192 x 192 = 1 179 648 each; gate, up, down
    2 x 16 x 192 x 320 = 1 966 080 each; Q K^T over 2 rows, 4 heads and 8 x 8 pairs
    2 x 2 x 4 x 64 x 48 = 49 152, and the same for its product with V: 10 715 136.
    LM head, 2 x 4 tokens: 2 x 8 x 192 x 512 = 1 572 864.
    """
    found = step_flops(make_cell(method="sft", batch=1, seq_len=8))
    layer = 4 * 1_179_648 + 3 * 1_966_080 + 2 * 49_152
    assert found.trained == 3 * layer + 1_572_864 == 33_718_272
    assert found.backward == 2 * found.trained
    assert found.phases == {"forward": 33_718_272, "backward": 67_436_544}
    # 28 of 64 pairs have the key after the query; forward once, backward twice.
    assert found.masked == 3 * 3 * 2 * 49_152 * 28 // 64
    assert found.recomputed == 0


def test_llama_with_adapters_by_hand(make_cell):
    """The same with rank 16: an adapter costs 2 x 16 tokens x 16 x (inputs + outputs).

    q, k, v, o: 196 608 each; gate, up, down: 262 144 each; a layer 1 572 864.
    Backward: each frozen product once, each adapter twice, attention twice, the frozen head once.
    In the first layer q, k and v need no input gradient: three products less, and three times
    A's 2 x 16 x 16 x 192 = 98 304 less.
    """
    found = step_flops(make_cell(method="sft", batch=1, seq_len=8, peft="lora"))
    products, adapters, attention = 4 * 1_179_648 + 3 * 1_966_080, 1_572_864, 2 * 49_152
    assert adapters == 4 * 196_608 + 3 * 262_144
    assert found.trained == 3 * (products + adapters + attention) + 1_572_864
    whole = 3 * (products + 2 * adapters + 2 * attention) + 1_572_864
    assert found.backward == whole - 3 * 1_179_648 - 3 * 98_304


def test_llama_with_adapters_on_its_mlp_by_hand(make_cell):
    """In the first layer nothing before the MLP needs a gradient, nor do the MLP's inputs: of its
    products only down's, no attention, and of gate's and up's A 98 304 less each.
    """
    found = step_flops(make_cell(method="sft", batch=1, seq_len=8, peft="lora", lora_targets="mlp"))
    products, adapters, attention = 4 * 1_179_648 + 3 * 1_966_080, 3 * 262_144, 2 * 49_152
    assert found.trained == 3 * (products + adapters + attention) + 1_572_864
    whole = 3 * (products + 2 * adapters + 2 * attention) + 1_572_864
    first = 4 * 1_179_648 + 2 * attention + 2 * 1_966_080 + 2 * 98_304
    assert found.backward == whole - first


def test_mamba_by_hand(make_cell):
    """tiny: 4 layers of width 192, inner 384, state 16, rank 12, kernel 4. 16 tokens.

    A layer: in 2 x 16 x 192 x 768 = 4 718 592; x 2 x 16 x 384 x 44 = 540 672; dt
    2 x 16 x 12 x 384 = 147 456; out 2 x 16 x 384 x 192 = 2 359 296; convolution
    2 x 16 x 4 x 384 = 49 152; scan 7 x 16 x 384 x 16 = 688 128.
    """
    found = step_flops(make_cell(method="sft", batch=1, seq_len=8, architecture="mamba"))
    products = 4_718_592 + 540_672 + 147_456 + 2_359_296
    assert found.trained == 4 * (products + 49_152 + 688_128) + 1_572_864
    scan_backward = 15 * 16 * 384 * 16
    assert found.backward == 4 * (2 * (products + 49_152) + scan_backward) + 2 * 1_572_864
    assert found.masked == 0


def test_mamba_with_adapters_by_hand(make_cell):
    """An adapter on in_proj: 2 x 16 tokens x 16 x (192 + 768) = 491 520.

    Backward: frozen products and the convolution once, the scan 13 in place of 15, and no input
    gradient in the first layer: neither in_proj's nor its A's 2 x 16 x 16 x 192 = 98 304.
    """
    cell = make_cell(method="sft", batch=1, seq_len=8, architecture="mamba", peft="lora")
    found = step_flops(cell)
    once = 4_718_592 + 540_672 + 147_456 + 2_359_296 + 49_152
    assert found.trained == 4 * (once + 491_520 + 688_128) + 1_572_864
    scan_backward = 13 * 16 * 384 * 16
    whole = 4 * (once + 2 * 491_520 + scan_backward) + 1_572_864
    assert found.backward == whole - 4_718_592 - 98_304


def test_mamba2_by_hand(make_cell):
    """tiny: 4 layers of width 192, inner 384, state 64, 12 heads of 32, 1 group, kernel 4.

    A layer, 16 tokens: in 2 x 16 x 192 x (384 + 512 + 12) = 5 578 752; out 2 359 296; convolution
    over 384 + 2 x 64 = 512 channels 2 x 16 x 4 x 512 = 65 536; scan 5 x 16 x 384 x 64 = 1 966 080.
    """
    found = step_flops(make_cell(method="sft", batch=1, seq_len=8, architecture="mamba2"))
    products, scan_backward = 5_578_752 + 2_359_296, 11 * 16 * 384 * 64
    assert found.trained == 4 * (products + 65_536 + 1_966_080) + 1_572_864
    assert found.backward == 4 * (2 * (products + 65_536) + scan_backward) + 2 * 1_572_864
    found = step_flops(
        make_cell(method="sft", batch=1, seq_len=8, architecture="mamba2", peft="lora")
    )
    adapter = 2 * 16 * 16 * (192 + 908)
    whole = 4 * (products + 65_536 + scan_backward + 2 * adapter) + 1_572_864
    assert found.backward == whole - 5_578_752 - 98_304  # no input gradient in the first layer


def test_hybrid_by_hand(make_cell):
    """tiny: two layers of the numbers of mamba2's above and between them one of llama's, each with
    an MLP of 192: gate, up, down 2 x 16 x 192 x 192 = 1 179 648 each.
    """
    cell = make_cell(method="sft", batch=1, seq_len=8, architecture="hybrid")
    mlp, attention = 3 * 1_179_648, 2 * 49_152
    scanning = 5_578_752 + 2_359_296 + 65_536 + mlp  # what costs twice as much backward
    attending = 4 * 1_179_648 + attention + mlp
    found = step_flops(cell)
    assert found.trained == 2 * (scanning + 1_966_080) + attending + 1_572_864
    scan_backward = 11 * 16 * 384 * 64
    whole = 2 * (2 * scanning + scan_backward) + 2 * attending + 2 * 1_572_864
    assert found.backward == whole
    assert found.masked == 3 * attention * 28 // 64
    assert [count for _, count in network_of(cell).blocks] == [1, 1, 1]
    bamba = make_cell(method="sft", size="8b", architecture="hybrid")
    runs = [(block.attention > 0, count) for block, count in network_of(bamba).blocks]
    assert runs == [(False, 9), (True, 1), (False, 8), (True, 1), (False, 8), (True, 1), (False, 4)]


def test_a_rollout_by_hand(make_cell):
    """2 rows, 4 prompt tokens, 8 in all: 4 + 3 tokens are fed, 4 reach the head.

    Pairs of one row: 4 x 4 in the prompt, then 5, 6 and 7 keys for one query.
    """
    found = step_flops(make_cell(method="ppo", batch=1, seq_len=8)).frozen["rollout"]
    products = 2 * 7 * 2 * (4 * 192 * 192 + 3 * 192 * 320)
    attention = 2 * (16 + 5 + 6 + 7) * 4 * 192
    assert found == 3 * (products + attention) + 2 * 4 * 2 * 192 * 512


@pytest.mark.parametrize("size", ["1.4b", "8b"])
def test_full_fine_tuning_is_palms_formula(size, make_cell):
    """6 N + 12 L H Q T per token, N without the embeddings but with the head (appendix B)."""
    cell = make_cell(method="sft", size=size, seq_len=4096, prompt_len=1)
    architecture = open_architecture("llama")
    shape = architecture.shape(size)
    weights = architecture.parameters(size)
    if not shape["tie_word_embeddings"]:
        weights -= shape["vocab_size"] * shape["hidden_size"]
    attention = 12 * shape["num_hidden_layers"] * shape["hidden_size"] * 4096
    tokens = 2 * cell.batch * cell.seq_len
    found = step_flops(cell)
    assert found.total == pytest.approx((6 * weights + attention) * tokens, rel=1e-3)
    short = step_flops(make_cell(method="sft", size=size, seq_len=64, prompt_len=1))
    assert short.total == pytest.approx(6 * weights * 2 * cell.batch * 64, rel=0.01)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_methods_stand_in_the_relations_that_people_quote(architecture, make_cell):
    def of(**axes):
        return step_flops(make_cell(architecture=architecture, **axes))

    sft, dpo = of(method="sft"), of(method="dpo")
    assert dpo.frozen == {"ref_forward": sft.trained}
    assert (dpo.trained, dpo.backward) == (sft.trained, sft.backward)
    assert of(method="dpo", ref="precomputed").phases == sft.phases
    once, four = of(method="ppo"), of(method="ppo", ppo_epochs=4)
    assert four.frozen == once.frozen
    assert (four.trained, four.backward) == (4 * once.trained, 4 * once.backward)
    assert of(method="ppo", ppo_minibatches=2) == once
    assert of(method="ppo", ppo_backward="joint") == once
    lora, ref = of(method="ppo", peft="lora"), of(method="ppo", peft="lora", ref="resident")
    assert lora.phases == ref.phases
    assert lora.backward < once.backward
    checkpointed = of(method="ppo", checkpointing="on")
    assert checkpointed.phases == once.phases
    assert 0 < checkpointed.recomputed < checkpointed.trained


def test_only_attention_grows_faster_than_the_sequence(make_cell):
    def per_token(architecture, seq_len):
        cell = make_cell(method="rm", architecture=architecture, seq_len=seq_len)
        return step_flops(cell).total / seq_len

    for architecture in ("mamba", "mamba2"):
        assert per_token(architecture, 4096) == per_token(architecture, 64)
    assert per_token("llama", 4096) > 2 * per_token("llama", 64)
    more, one_of_three = (per_token(a, 4096) - per_token(a, 64) for a in ("llama", "hybrid"))
    assert more == 3 * one_of_three


def test_the_docs_table_is_what_is_counted(make_cell):
    text = (Path(__file__).parents[3] / "docs" / "flops.md").read_text()
    for method in ("sft", "dpo", "ppo"):
        for peft in ("full", "lora"):
            cell = make_cell(method=method, peft=peft, size="8b", seq_len=1024, batch=1)
            found = step_flops(cell)
            parts = (sum(found.frozen.values()), found.trained, found.backward, found.total)
            row = " | ".join([method, peft, *(f"{part / 1e12:.1f}" for part in parts)])
            assert f"| {row} |" in text
    for seq_len, share in ((512, "1 %"), (4096, "6 %"), (32768, "27 %")):
        found = step_flops(make_cell(method="sft", size="8b", seq_len=seq_len))
        assert f"{100 * found.masked / found.total:.0f} %" == share
        assert f"{share} at {seq_len}" in " ".join(text.split())


def test_mfu_is_flops_over_what_the_chip_could_have_done(make_cell):
    cell = make_cell(method="dpo", precision="bf16-mixed", checkpointing="on")
    used = utilisation(cell, 0.5, H100)
    total = sum(step_flops(cell).phases.values())
    assert used.mfu == pytest.approx(total / (0.5 * 989.4e12))
    assert used.reason is None
    assert used.mfu == utilisation(make_cell(precision="bf16-mixed"), 0.5, H100).mfu


def test_no_mfu_without_a_peak_that_fits(make_cell):
    bf16, replace = make_cell(precision="bf16"), msgspec.structs.replace
    used = utilisation(bf16, 0.5, Provenance(device="Some CPU"))
    assert used.mfu is None
    assert used.flops == step_flops(bf16)
    assert used.reason == "no BF16 peak is known for 'Some CPU'"
    assert utilisation(bf16, 0.5, replace(H100, partition="1g.10gb")).mfu is None
    assert utilisation(bf16, 0.5, replace(H100, form_factor="PCIe")).mfu is None
    used = utilisation(make_cell(precision="fp32"), 0.5, H100)
    assert used.reason == "the products of fp32 are not what the BF16 peak is for"
    assert utilisation(bf16, None, H100).reason == "no step was timed"


def assert_uncounted(cell, axis):
    used = utilisation(cell, 0.5, H100)
    assert used.flops is used.mfu is None
    assert used.reason == f"the FLOPs of {axis} {getattr(cell, axis)} are not counted"
    with pytest.raises(ValueError, match=used.reason):
        step_flops(cell)


def test_what_nobody_counted_says_so(make_cell, monkeypatch, tmp_path):
    replace, cell = msgspec.structs.replace, make_cell()
    for axis, rows, left_out in (
        ("method", METHODS, {"passes": None}),
        ("architecture", ARCHITECTURES, {"blocks": None}),
    ):
        name = getattr(cell, axis)
        uncounted_one = dataclasses.replace(load(rows, name), **left_out)
        with monkeypatch.context() as patch:
            patch.setattr(rows[name].path.replace(":", "."), uncounted_one)
            assert_uncounted(cell, axis)

    class Norms(PeftMode):
        name = "full"

    with monkeypatch.context() as patch:
        patch.setattr("alignmeter.peft.full.FULL", Norms())
        assert_uncounted(cell, "peft")
    found = {"mistral": SimpleNamespace(shape=MistralConfig(sliding_window=8).to_dict)}
    monkeypatch.setattr(f"{step_flops.__module__}.find_checkpoint", found.get)
    windowed = replace(cell, model="mistral")
    assert shape_of(windowed)["sliding_window"] == 8
    assert uncounted(windowed) == "attention within a window of 8 tokens is not counted"
    assert uncounted(replace(windowed, seq_len=8)) is None


def test_the_record_holds_them(make_cell):
    report = StepReport(
        seconds=0.5,
        phases={},
        spans=StepSpans(start_s=0.0, end_s=0.5, phases={}),
        loss=0.7,
        trained_tokens=10,
        padded_tokens=0,
        generated_tokens=0,
        others_share=0.0,
    )
    cell = make_cell(method="dpo", precision="bf16", checkpointing="on")
    found = Findings(cell=cell, replicate=0, seed=0, sampling=Sampling(0.0), provenance=H100)
    assert assemble(found).throughput.mfu_reason == "no step was timed"
    found.steps = [report] * 3
    throughput, flops = assemble(found).throughput, step_flops(cell)
    assert throughput.flops == flops.phases
    assert list(throughput.flops) == ["ref_forward", "forward", "backward"]
    assert throughput.masked_flops == flops.masked > 0
    assert throughput.recomputed_flops == flops.recomputed > 0
    assert throughput.mfu == pytest.approx(flops.total / (0.5 * 989.4e12))
    assert throughput.mfu_reason is None


def test_the_record_holds_the_share_of_its_bound(make_cell):
    """On an H100 of a step of 0.5 s, its forward pass 0.1 s; without peaks a reason."""
    report = StepReport(
        seconds=0.5, phases={"forward": 0.1}, spans=StepSpans(start_s=0.0, end_s=0.5, phases=[]),
        loss=0.7, trained_tokens=10, padded_tokens=0, generated_tokens=0, others_share=0.0,
    )  # fmt: skip
    cell = make_cell(method="sft", precision="bf16")
    found = Findings(cell=cell, replicate=0, seed=0, sampling=Sampling(0.0), provenance=H100)
    assert assemble(found).throughput.bound_reason == "no step was timed"
    found.steps = [report]
    record, bound = assemble(found), bound_of(step_demand(cell), ceilings_of(peak("H100-SXM")))
    assert record.throughput.bound_s == pytest.approx(bound.seconds)
    assert record.throughput.bound_share == pytest.approx(bound.seconds / 0.5)
    assert record.throughput.bound_reason is None
    forward = record.phases["forward"]
    assert forward.bound_s == bound.phases["forward"].seconds
    assert forward.bound_share == pytest.approx(forward.bound_s / 0.1)
    found.provenance = Provenance(device="Some CPU")
    unknown = assemble(found)
    assert unknown.throughput.bound_s is unknown.throughput.bound_share is None
    assert unknown.phases["forward"].bound_s is unknown.phases["forward"].bound_share is None
    assert unknown.throughput.bound_reason == "the peaks of 'Some CPU' were not measured"
    found.own_ceilings = MeasuredCeilings(
        fp32_flops_per_s=1e9, bf16_flops_per_s=2e9, bytes_per_s={0: 1e9}
    )
    flops = step_demand(cell)["forward"].flops
    assert assemble(found).phases["forward"].bound_s == pytest.approx(flops / 2e9)
    found.cell = make_cell(method="sft", precision="fp32")
    assert assemble(found).phases["forward"].bound_s == pytest.approx(flops / 1e9)


def test_what_several_devices_send_is_part_of_the_bound(make_cell):
    """Half of 900 GB comes through an NVLink of 450 GB/s."""
    cell = make_cell(method="sft", precision="bf16", world_size=2, parallel="fsdp2")
    report = StepReport(
        seconds=9.0, phases={"forward": 4.0}, spans=StepSpans(start_s=0.0, end_s=9.0, phases=[]),
        loss=0.7, trained_tokens=10, padded_tokens=0, generated_tokens=0, others_share=0.0,
    )  # fmt: skip
    profile = MemoryProfile(
        peak_bytes=1, phase=None, operator=None, phase_peaks={}, ledger={},
        sent=(
            Sent("forward", "all_gather", 500 * 10**9), Sent("forward", "all_gather", 400 * 10**9),
        ),
    )  # fmt: skip
    ranks = RanksFound(size=2)
    ranks.note("memory_step", [profile, profile])
    ranks.note("step", [report, report])
    found = Findings(
        cell=cell, replicate=0, seed=0, sampling=Sampling(0.0), provenance=H100, ranks=ranks,
        steps=[report],
    )  # fmt: skip
    record = assemble(found)
    assert record.phases["forward"].bound_s == pytest.approx(1.0)
    assert record.phases["forward"].bound_share == pytest.approx(0.25)
    backward = step_demand(cell)["backward"].flops / 989.4e12
    assert record.throughput.bound_s == pytest.approx(1.0 + backward, rel=0.01)
