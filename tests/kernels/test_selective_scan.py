"""The selective scan against float64: outputs, every gradient, both CPU paths."""

import pytest
import torch

from alignmeter_kernels.closeness import assert_close_to_float64, gradients_of
from alignmeter_kernels.selective_scan import native, selective_scan
from alignmeter_kernels.selective_scan.reference import selective_scan_reference

NAMES = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias", "initial_state")


@pytest.fixture(params=["cpp", "torch"])
def path(request, monkeypatch):
    """Each implementation of the CPU in turn."""
    if request.param == "torch":
        monkeypatch.setattr(native, "usable", lambda _: False)
    elif not native.usable(16):
        pytest.skip("no C++ compiler; install one, e.g. g++")
    return request.param


def made(rows=2, width=5, length=63, states=16, dtype=torch.float32, options=NAMES[5:]):
    """Inputs as a Mamba layer makes them: step sizes of 1e-3 to 1e-1, decays of 1 to N."""
    draw = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=draw)

    found = {
        "u": normal(rows, width, length),
        "delta": normal(rows, width, length),
        "A": -torch.arange(1.0, states + 1).repeat(width, 1) * (1 + 0.1 * normal(width, states)),
        "B": normal(rows, states, length),
        "C": normal(rows, states, length),
        "D": normal(width),
        "z": normal(rows, width, length),
        "delta_bias": normal(width) - 4,
        "initial_state": normal(rows, width, states),
    }
    return {
        name: value.to(dtype)
        for name, value in found.items()
        if name in NAMES[:5] or name in options
    }


def run(scan, inputs):
    y, last = scan(**inputs, delta_softplus=True)
    return {"y": y, "last": last}


@pytest.mark.parametrize("length", [1, 60, 63, 64, 65, 130])
@pytest.mark.parametrize("options", [(), ("D", "z"), ("delta_bias",), NAMES[5:]])
def test_outputs_and_every_gradient(path, length, options):
    inputs = made(length=length, options=options)
    assert_close_to_float64(
        lambda i: run(selective_scan, i), lambda i: run(selective_scan_reference, i), inputs
    )


def test_a_long_sequence(path):
    inputs = made(rows=1, length=1000)
    assert_close_to_float64(
        lambda i: run(selective_scan, i), lambda i: run(selective_scan_reference, i), inputs
    )


@pytest.mark.parametrize("states", [1, 7, 8, 16, 64])
def test_state_sizes(path, states):
    inputs = made(states=states, length=20)
    assert_close_to_float64(
        lambda i: run(selective_scan, i), lambda i: run(selective_scan_reference, i), inputs
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(path, dtype):
    """Inputs and results are rounded; what lies between is fp32."""
    inputs = made(dtype=dtype)
    assert_close_to_float64(
        lambda i: run(selective_scan, i), lambda i: run(selective_scan_reference, i), inputs
    )


def test_inputs_need_not_be_contiguous(path):
    inputs = {
        name: torch.stack([value, value], -1)[..., 0] if value.dim() < 3 else
        value.mT.contiguous().mT
        for name, value in made().items()
    }  # fmt: skip
    assert_close_to_float64(
        lambda i: run(selective_scan, i), lambda i: run(selective_scan_reference, i), inputs
    )


def test_a_sequence_in_two_parts_is_the_whole(path):
    """What decoding does: the last state of the prompt begins the rest."""
    inputs = made(length=70)
    y, last = selective_scan(**inputs, delta_softplus=True)
    parts, state = [], inputs.pop("initial_state")
    for part in (slice(0, 33), slice(33, 70)):
        cut = {n: v[..., part] if n in ("u", "delta", "B", "C", "z") else v
               for n, v in inputs.items()}  # fmt: skip
        done, state = selective_scan(**cut, initial_state=state, delta_softplus=True)
        parts.append(done)
    torch.testing.assert_close(torch.cat(parts, -1), y)
    torch.testing.assert_close(state, last)


def test_results_do_not_depend_on_threads(path):
    """Each channel is one thread's; only dB and dC are summed over them, to the last bits."""
    inputs = made(width=33)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(gradients_of(lambda i: run(selective_scan, i), inputs))
    finally:
        torch.set_num_threads(threads)
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name])


def test_nan_stays_nan(path):
    """A diverged step must not come out as a number."""
    inputs = made()
    inputs["delta"][0, 0, 5] = torch.nan
    y, last = selective_scan(**inputs, delta_softplus=True)
    assert y[0, 0, 5:].isnan().all()
    assert last[0, 0].isnan().all()
    assert not y[0, 1:].isnan().any()


def test_memory_grows_with_the_sequence_not_with_the_states(path):
    """Kept for the backward pass: the state of every 64th token."""
    _, _, kept = torch.ops.alignmeter.selective_scan(
        *made(length=640, options=()).values(), None, None, None, None, True
    )
    assert kept.shape == (2, 10, 5, 16)


@pytest.mark.parametrize("options", [(), NAMES[5:]])
def test_it_is_a_proper_operator(path, options):
    inputs = made(length=66, width=3, options=options)
    arguments = tuple(inputs[name].requires_grad_() if name in inputs else None for name in NAMES)
    torch.library.opcheck(torch.ops.alignmeter.selective_scan.default, (*arguments, True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"u": torch.zeros(2, 5)}, "want \\[rows, D, T\\]"),
        ({"B": torch.zeros(2, 63, 16)}, "B is .*want \\(2, 16, 63\\)"),
        ({"delta_bias": torch.zeros(4)}, "delta_bias is .*want \\(5,\\)"),
        ({"D": torch.zeros(5, dtype=torch.int64)}, "D is torch.int64"),
        ({"z": torch.zeros(2, 5, 63, device="meta")}, "z is on meta, u on cpu"),
    ],
)
def test_wrong_inputs_are_named(changes, words):
    with pytest.raises(ValueError, match=words):
        selective_scan(**{**made(), **changes})
