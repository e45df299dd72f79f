"""Agreement with reference losses: rounding passes, a broken kernel does not."""

import math

import msgspec
import pytest
import torch
import torch.nn.functional as F
from crossed import crossed
from references import farthest, packaged_cells

from alignmeter.architectures.precision import precision_of
from alignmeter.records.reference import Reference, packaged_references
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES
from alignmeter.session import Planned, Settings, measure
from alignmeter.session.findings.bands import compare
from alignmeter.session.references import obtain_reference
from alignmeter.session.resolve import resolve_cell
from alignmeter.worker.agreement import checked_cell, is_rounded, make_reference, sliced_layers
from alignmeter.worker.workload import Workload

QUICK = Settings(steps=1, warmup=1, seed=0, timeout_s=120)


def reference_of(cell):
    return make_reference(cell, 0, sliced_layers(cell), is_rounded(cell))


def agreement(cell, reference):
    """Names of the signals that disagree when ``cell`` runs now."""
    load = Workload(cell, 0)
    load.build()
    observed = load.agreement(reference.rollouts)
    return [s.name for s in compare(observed.signals, reference, cell) if not s.agrees]


def test_every_tiny_cell_of_the_packaged_matrices_has_a_reference():
    """If this fails: python tests/trust/references.py"""
    missing = [cell.id for key, (cell, _) in packaged_cells().items()
               if key not in packaged_references()]  # fmt: skip
    assert missing == []


@pytest.mark.parametrize("peft", PEFT_MODES)
def test_the_packaged_ones_serve_what_is_installed(peft, make_cell, launcher):
    """And are found, not computed. If this fails: what `records/reference.py` says it serves, and
    `python tests/trust/references.py --check`.
    """
    cell = resolve_cell({"accelerator": "cpu", "peft": peft}).cell
    found = obtain_reference(cell, seed=0, launcher=None, timeout_s=1)
    assert found.reference is not None
    assert (found.why, len(found.reference.signals["loss"])) == ("", 2)


def test_a_reference_of_other_weights_serves_nobody(make_cell):
    """What ``--check`` measures: a share of fp32's band, whatever the cell's own is."""
    cell = make_cell(precision="bf16")
    reference = Reference(signals={"loss": [0.5, 0.5]}, rollouts=[[[1]]])
    band = precision_of("fp32").band
    near = Reference(signals={"loss": [0.5, 0.5 + band / 20]}, rollouts=[[[1]]])
    assert farthest(near, reference, cell) == pytest.approx(0.05)
    nan = Reference(signals={"loss": [0.5, math.nan]}, rollouts=[[[1]]])
    assert farthest(nan, reference, cell) == math.inf
    tokens = Reference(signals={"loss": [0.5, 0.5]}, rollouts=[[[2]]])
    assert farthest(tokens, reference, cell) == math.inf


LOWER = [
    ("full", "bf16-mixed"), ("full", "bf16"), ("lora", "bf16-base"), ("lora", "bf16"),
    ("lora", "bf16-mixed"), ("lora", "bf16-base-mixed"), ("qlora", "bf16-base"),
    ("qlora", "bf16-base-mixed"),
]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize(*crossed(method=METHODS, architecture=ARCHITECTURES, lower=LOWER))
def test_lower_precision_stays_within_its_band(method, architecture, lower, make_cell):
    """PPO among them: it replays the reference's rollout, so tokens cannot diverge."""
    peft, precision = lower
    cell = make_cell(method=method, architecture=architecture, peft=peft, precision=precision)
    assert agreement(cell, reference_of(cell)) == []


def broken_attention(query, key, value, **kwargs):
    """Forgets to scale the scores."""
    return SCALED(query * query.shape[-1] ** 0.25, key, value, **kwargs)


SCALED = F.scaled_dot_product_attention


@pytest.mark.parametrize("method", ["sft", "dpo", "ppo"])
def test_a_broken_attention_kernel_is_caught(method, monkeypatch, make_cell):
    cell = make_cell(method=method)
    reference = reference_of(cell)
    assert agreement(cell, reference) == []
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", broken_attention)
    assert agreement(cell, reference) != []


@pytest.mark.full
def test_a_broken_convolution_is_caught_in_bf16_too(monkeypatch, make_cell):
    """A kernel that reads one token too early, as an off-by-one in its padding would."""
    whole = F.conv1d

    def shifted(x, *args, **kwargs):
        return whole(x.roll(1, dims=-1), *args, **kwargs)

    for precision in ("fp32", "bf16"):
        cell = make_cell(method="sft", architecture="mamba", precision=precision)
        reference = reference_of(cell)
        assert agreement(cell, reference) == []
        with monkeypatch.context() as patch:
            patch.setattr(F, "conv1d", shifted)
            assert agreement(cell, reference) != []


def test_a_backward_without_one_term_is_caught_by_the_gradient_norm(monkeypatch, make_cell):
    """The forward is right, so that the first losses are: only gradients can tell."""
    cell = make_cell(method="rm")
    reference = reference_of(cell)

    class HalfSilu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return F.silu(x)

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * torch.sigmoid(x)  # the term x s (1 - s) is missing

    load = Workload(cell, 0)
    load.build()
    for layer in load.step_object.models()["reward"].backbone.layers:
        layer.mlp.act_fn.forward = HalfSilu.apply
    observed = load.agreement([])
    apart = [s for s in compare(observed.signals, reference, cell) if not s.agrees]
    assert "grad_norm" in [s.name for s in apart]
    loss = next(s for s in compare(observed.signals, reference, cell) if s.name == "loss")
    assert loss.measured[0] == pytest.approx(loss.reference[0], abs=1e-6)


def test_another_seed_disagrees(make_cell):
    cell = make_cell(method="sft")
    other = make_reference(cell, 1, None, False)
    assert agreement(cell, other) != []


def planned(cell):
    return Planned(cell=cell, unsupported=None)


@pytest.mark.full
def test_a_record_holds_both_sides(launcher, make_cell):
    """A packaged tiny cell is checked against figures that another machine may have made."""
    record = measure(planned(make_cell(method="ppo", data="packaged", seq_len=64)), 0, QUICK,
                     launcher).record  # fmt: skip
    assert record.numerics.agrees is True
    assert record.numerics.reason is None
    names = [signal.name for signal in record.numerics.agreement]
    assert names == ["loss", "logprob", "score", "value", "grad_norm"]
    assert len(record.numerics.losses) == 2 + QUICK.warmup + QUICK.steps
    assert len(record.numerics.reference_losses) == 2


@pytest.mark.full
def test_a_cell_that_is_its_own_reference_is_unchecked(launcher, make_cell):
    record = measure(planned(make_cell()), 0, QUICK, launcher).record
    assert record.numerics.agrees is None
    assert record.numerics.reason.startswith("unchecked")
    assert record.validity["numerics"].ok


@pytest.mark.full
def test_a_reference_is_computed_once_and_kept(tmp_path, monkeypatch, launcher, make_cell):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = make_cell(precision="bf16-mixed")
    record = measure(planned(cell), 0, QUICK, launcher).record
    assert record.numerics.agrees is True
    (path,) = (tmp_path / "alignmeter" / "references").glob("*.json")
    kept = msgspec.json.decode(path.read_bytes(), type=Reference)
    spoilt = {**kept.signals, "loss": [value + 1 for value in kept.signals["loss"]]}
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(kept, signals=spoilt)))
    again = measure(planned(cell), 1, QUICK, launcher).record
    assert again.numerics.agrees is False
    assert again.numerics.reason == "outside the band: loss"
    assert [r.code for r in again.validity["numerics"].reasons] == ["reference_disagrees"]
    path.write_text("{")
    assert measure(planned(cell), 2, QUICK, launcher).record.numerics.agrees is True


def test_a_reference_that_fails_is_a_reason_not_a_crash(tmp_path, monkeypatch, launcher, make_cell):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = make_cell(precision="bf16-mixed")
    found = obtain_reference(cell, seed=0, launcher=launcher, timeout_s=0.0)
    assert (found.reference, found.failure) == (None, "timeout")
    assert found.why.startswith("unchecked: no reference: timeout")


def test_large_models_are_checked_on_two_layers(make_cell):
    assert sliced_layers(make_cell(size="370m")) is None
    assert sliced_layers(make_cell(size="1.4b")) == 2


def test_a_slice_agrees_and_leaves_the_whole_model_alone(make_cell):
    cell = make_cell(method="ppo", precision="bf16-mixed")
    reference = make_reference(cell, 0, 1, False)
    assert reference.layers == 1
    load = Workload(cell, 0)
    observed = load.sliced_agreement(1, reference.rollouts)
    assert [s.name for s in compare(observed.signals, reference, cell) if not s.agrees] == []
    load.build()
    assert load.steps_done == 0
    assert len(load.step_object.models()["policy"].model.layers) == 3


@pytest.mark.parametrize(
    ("seq_len", "prompt_len", "cut"),
    [
        (256, 128, (256, 128)),  # not cut
        (8192, 4096, (256, 128)),  # in proportion
        (1024, 256, (256, 64)),
        (8192, 8176, (256, 240)),  # in proportion half a token would be left of 16
        (8192, 8190, (256, 254)),  # 2 tokens of response: both stay
        (257, 1, (256, 1)),
    ],
)
def test_long_sequences_are_checked_at_256_tokens(seq_len, prompt_len, cut, make_cell):
    cell = checked_cell(make_cell(seq_len=seq_len, prompt_len=prompt_len))
    assert (cell.seq_len, cell.prompt_len) == cut


@pytest.mark.exhaustive
def test_a_long_cell_is_checked_on_a_cut_and_says_so(tmp_path, monkeypatch, launcher, make_cell):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    short, long = (
        make_cell(method="ppo", precision="bf16-mixed", seq_len=t, prompt_len=t - 16)
        for t in (256, 320)
    )
    record = measure(planned(long), 0, QUICK, launcher).record
    numerics = record.numerics
    assert (numerics.agrees, numerics.agreement_seq_len) == (True, 256)
    assert numerics.agreement_layers is None
    assert len(numerics.losses) == QUICK.warmup + QUICK.steps  # those of the cut are not among them
    whole = measure(planned(short), 0, QUICK, launcher).record
    assert (whole.numerics.agrees, whole.numerics.agreement_seq_len) == (True, None)
    assert len(whole.numerics.losses) == 2 + QUICK.warmup + QUICK.steps
    assert whole.numerics.reference_losses == numerics.reference_losses
    assert len(list((tmp_path / "alignmeter" / "references").iterdir())) == 1


def test_bands_follow_the_size_of_a_signal(make_cell):
    reference = Reference(signals={"loss": [0.01, 0.02], "grad_norm": [0.5, 0.1]})
    signals = {s.name: s for s in compare({"loss": [0.0, 0.1]}, reference, make_cell())}
    assert signals["loss"].band == pytest.approx(2e-4)
    assert signals["grad_norm"].band == pytest.approx(1e-4)
    assert not signals["grad_norm"].agrees  # not measured at all
