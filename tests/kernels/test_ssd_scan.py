"""Mamba-2's scan on the CPU against float64: outputs, every gradient, limits and errors."""

import math

import pytest
import torch

from alignmeter_kernels.closeness import assert_close_to_float64
from alignmeter_kernels.paths import paths_run
from alignmeter_kernels.ssd_scan import ssd_scan
from alignmeter_kernels.ssd_scan.reference import ssd_scan_reference

NAMES = ("x", "dt", "A", "B", "C", "D", "dt_bias", "initial_state")
PER_TOKEN = ("x", "dt", "B", "C")


def made(
    rows=2, length=65, heads=4, width=7, groups=2, states=5, dtype=torch.float32, options=NAMES[5:]
):
    """Inputs as a Mamba-2 layer makes them: step sizes of 1e-3 to 1e-1, decays of 1 to H."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=draw)

    found = {
        "x": normal(rows, length, heads, width),
        "dt": normal(rows, length, heads),
        "A": -torch.arange(1.0, heads + 1) * (1 + 0.1 * normal(heads)),
        "B": normal(rows, length, groups, states),
        "C": normal(rows, length, groups, states),
        "D": normal(heads),
        "dt_bias": normal(heads) - 4,
        "initial_state": normal(rows, heads, width, states),
    }
    return {
        name: value.to(dtype)
        for name, value in found.items()
        if name in NAMES[:5] or name in options
    }


def run(scan, **options):
    def call(inputs):
        y, last = scan(**inputs, **{"dt_softplus": True, **options})
        return {"y": y, "last": last}

    return call


def assert_agrees(inputs, **options):
    assert_close_to_float64(run(ssd_scan, **options), run(ssd_scan_reference, **options), inputs)


@pytest.mark.parametrize("length", [1, 60, 63, 64, 65, 130])
@pytest.mark.parametrize("options", [(), ("D",), ("dt_bias", "initial_state"), NAMES[5:]])
def test_outputs_and_every_gradient(length, options):
    assert_agrees(made(length=length, options=options))


@pytest.mark.full
@pytest.mark.parametrize("options", [(), NAMES[5:]])
def test_a_long_sequence(options):
    """Without a bias steps are near 0.7, and a chunk's sums of dt A pass 1000."""
    assert_agrees(
        made(rows=1, length=1000, heads=24, width=16, groups=1, states=16, options=options)
    )


@pytest.mark.parametrize(
    ("heads", "groups", "width", "states"), [(1, 1, 1, 1), (6, 3, 60, 63), (8, 1, 64, 128)]
)
def test_shapes(heads, groups, width, states):
    assert_agrees(made(length=66, heads=heads, groups=groups, width=width, states=states))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """Inputs and results are rounded; what lies between is fp32."""
    assert_agrees(made(dtype=dtype))


def test_mixed_precision():
    """What autocast gives: parameters stay fp32, and nothing is rounded but the results."""
    inputs = {n: v.bfloat16() if n in PER_TOKEN else v for n, v in made().items()}
    y, last = ssd_scan(**inputs)
    wide_y, wide_last = ssd_scan(**{name: value.float() for name, value in inputs.items()})
    assert torch.equal(y, wide_y.bfloat16())
    assert torch.equal(last, wide_last)


@pytest.mark.parametrize("softplus", [True, False])
def test_steps_are_clamped(softplus):
    """Beyond the limits a step is the limit, and its gradient zero."""
    inputs = made(options=("dt_bias",)) | {"dt": torch.linspace(-3, 3, 520).view(2, 65, 4)}
    assert_agrees(inputs, dt_softplus=softplus, dt_limit=(0.02, 0.05))


def test_inputs_need_not_be_contiguous():
    inputs = {
        name: torch.stack([value, value], -1)[..., 0] if name not in PER_TOKEN else
        value.transpose(1, -1).contiguous().transpose(1, -1)
        for name, value in made().items()
    }  # fmt: skip
    assert not inputs["x"].is_contiguous()
    assert_agrees(inputs)


def test_a_sequence_in_two_parts_is_the_whole():
    """What decoding does: the last state of the prompt begins the rest."""
    inputs = made(length=150)
    y, last = ssd_scan(**inputs, dt_softplus=True)
    parts, state = [], inputs.pop("initial_state")
    for part in (slice(0, 33), slice(33, 150)):
        cut = {n: v[:, part] if n in PER_TOKEN else v for n, v in inputs.items()}
        done, state = ssd_scan(**cut, initial_state=state, dt_softplus=True)
        parts.append(done)
    torch.testing.assert_close(torch.cat(parts, 1), y)
    torch.testing.assert_close(state, last)


def test_strong_decay_does_not_overflow():
    """exp of what lies above the diagonal would be e^6400; the states forget at once."""
    inputs = made(options=()) | {"dt": torch.full((2, 65, 4), 100.0)}
    assert_agrees(inputs, dt_softplus=False)


def test_long_sums_do_not_blur_the_decays():
    """Sums of dt A pass 1000 in a chunk: in fp32 the exponents, their differences, would be off by
    500 u, and outputs were by 20 u. With exact exponents a sum of 64 terms is off by 8 u."""
    inputs = made(
        rows=1, length=256, heads=24, width=16, groups=1, states=16, options=("initial_state",)
    )
    y, _ = ssd_scan(**inputs, dt_softplus=True)
    wide = {name: value.double() for name, value in inputs.items()}
    wanted, _ = ssd_scan_reference(**wide, dt_softplus=True)
    bound = 8 * torch.finfo(torch.float32).eps * wanted.abs().max()
    assert (y.double() - wanted).abs().max() <= bound


def test_nan_stays_nan():
    """A diverged step must not come out as a number, nor reach other heads and rows."""
    inputs = made(groups=1)
    inputs["dt"][0, 5, 0] = torch.nan
    y, last = ssd_scan(**inputs, dt_softplus=True)
    assert y[0, 5:, 0].isnan().all()
    assert last[0, 0].isnan().all()
    assert not y[0, :, 1:].isnan().any()
    assert not y[1].isnan().any()


def test_nothing_is_kept_but_the_inputs():
    inputs = {name: value.requires_grad_() for name, value in made(length=640).items()}
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.numel()) or t, lambda t: t
    ):
        ssd_scan(**inputs, dt_softplus=True)
    steps = inputs["dt"].numel()
    assert sum(saved) <= sum(v.numel() for v in inputs.values()) + 4 * steps


@pytest.mark.parametrize("options", [(), ("D", "initial_state")])
def test_it_is_a_proper_operator(options):
    inputs = made(length=66, width=3, options=options)
    inputs["dt"] = inputs["dt"].abs()
    names = ("x", "dt", "A", "B", "C", "D", "initial_state")
    arguments = tuple(inputs[n].requires_grad_() if n in inputs else None for n in names)
    torch.library.opcheck(torch.ops.alignmeter.ssd_scan.default, arguments)


def test_the_path_is_noted():
    ssd_scan(**made())
    assert paths_run()["ssd_scan"] == "torch"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": torch.zeros(2, 65, 4)}, "want \\[rows, T, H, P\\]"),
        ({"dt": torch.zeros(2, 4, 65)}, "dt is .*want \\(2, 65, 4\\)"),
        ({"A": torch.zeros(5)}, "A is \\(5,\\); want \\(4,\\)"),
        ({"B": torch.zeros(2, 65, 3, 5)}, "B has 3 groups; want a divisor of the 4 heads"),
        ({"C": torch.zeros(2, 65, 1, 5)}, "C is .*want \\(2, 65, 2, 5\\)"),
        ({"dt_bias": torch.zeros(3)}, "dt_bias is .*want \\(4,\\)"),
        ({"initial_state": torch.zeros(2, 4, 5, 7)}, "initial_state is .*want \\(2, 4, 7, 5\\)"),
        ({"D": torch.zeros(4, dtype=torch.int64)}, "D is torch.int64; want a float dtype"),
        ({"C": torch.zeros(2, 65, 2, 5, device="meta")}, "C is on meta, x on cpu"),
        ({"dt_limit": (0.1, -math.inf)}, "dt_limit is \\(0.1, -inf\\)"),
    ],
)
def test_wrong_inputs_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        ssd_scan(**{**made(), **changes})
