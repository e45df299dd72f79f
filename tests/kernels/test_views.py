"""Every operator takes its tensors however they lie in memory, on each of its paths.

An operator of a view and of the view's contiguous copy must agree, in outputs and in gradients,
which flow to what the view was taken of; so must the gradients that come back in either layout.
"""

from importlib import import_module, util

import pytest
import torch
from crossed import crossed

from alignmeter_kernels import KERNELS
from alignmeter_kernels.inputs import Case, TensorSpec
from alignmeter_kernels.launch import Tile, launch
from alignmeter_kernels.paths import paths_run, portable_only
from alignmeter_kernels.token_logprob.reference import token_logprob

CASES = {
    "token_logprob": Case(
        name="small",
        tensors={
            "logits": TensorSpec(shape=(2, 3, 11)),
            "labels": TensorSpec(shape=(2, 3), kind="labels", high=11),
        },
    ),
    "linear_logprob": Case(
        name="small",
        tensors={
            "hidden": TensorSpec(shape=(7, 6)),
            "weight": TensorSpec(shape=(11, 6)),
            "labels": TensorSpec(shape=(7,), kind="labels", high=11),
        },
    ),
    "nf4_linear": Case(
        name="small",
        tensors={
            "x": TensorSpec(shape=(5, 64)),
            "packed": TensorSpec(shape=(160,), kind="bytes"),
            "absmax": TensorSpec(shape=(5,), kind="bytes"),
            "levels": TensorSpec(shape=(256,), frozen=True),
            "nested_absmax": TensorSpec(shape=(1,), frozen=True),
            "offset": TensorSpec(shape=(), frozen=True),
            "bias": TensorSpec(shape=(5,)),
        },
        options={"shape": (5, 64), "blocksize": 64},
    ),
    "ssd_scan": Case(
        name="small",
        tensors={
            "x": TensorSpec(shape=(2, 3, 2, 3)),
            "dt": TensorSpec(shape=(2, 3, 2), scale=0.1),
            "A": TensorSpec(shape=(2,), kind="decay"),
            "B": TensorSpec(shape=(2, 3, 1, 5)),
            "C": TensorSpec(shape=(2, 3, 1, 5)),
            "D": TensorSpec(shape=(2,)),
            "dt_bias": TensorSpec(shape=(2,)),
            "initial_state": TensorSpec(shape=(2, 2, 3, 5)),
        },
        options={"dt_softplus": True},
    ),
    "causal_conv1d": Case(
        name="small",
        tensors={
            "x": TensorSpec(shape=(2, 3, 9)),
            "weight": TensorSpec(shape=(3, 4)),
            "bias": TensorSpec(shape=(3,)),
        },
    ),
    "selective_scan": Case(
        name="small",
        tensors={
            "u": TensorSpec(shape=(2, 3, 9)),
            "delta": TensorSpec(shape=(2, 3, 9)),
            "A": TensorSpec(shape=(3, 8), kind="decay"),
            "B": TensorSpec(shape=(2, 8, 9)),
            "C": TensorSpec(shape=(2, 8, 9)),
            "D": TensorSpec(shape=(3,)),
            "z": TensorSpec(shape=(2, 3, 9)),
            "delta_bias": TensorSpec(shape=(3,)),
            "initial_state": TensorSpec(shape=(2, 3, 8)),
        },
        options={"delta_softplus": True},
    ),
}
"""Kernel -> all its arguments in one small case; the scan's states are a number that C++ knows."""
PATHS = {
    "token_logprob": ("torch",),
    "linear_logprob": ("torch", "triton"),
    "nf4_linear": ("torch", "triton"),
    "ssd_scan": ("torch", "triton"),
    "causal_conv1d": ("torch", "cpp", "triton"),
    "selective_scan": ("torch", "cpp", "triton"),
}
REFUSED = {"packed", "absmax", "levels"}
"""Of an NF4 weight, by name: a copy of them in each call would cost what they save."""


def test_the_table_knows_every_kernel_and_its_paths():
    assert CASES.keys() == KERNELS.keys()
    for name, package in KERNELS.items():
        found = {"torch"}
        for path, module in (("cpp", "native"), ("triton", "gpu")):
            if util.find_spec(f"{package}.{module}"):
                found.add(path)
        assert set(PATHS[name]) == found, name


def strided(tensor):
    """Every second element of the last dimension."""
    made = torch.stack([tensor, torch.zeros_like(tensor)], -1)
    return lambda base: base[..., 0], made


def first_strided(tensor):
    made = torch.stack([tensor, torch.zeros_like(tensor)], 1)
    return lambda base: base[:, 0], made


def transposed(tensor):
    made = tensor.permute(*reversed(range(tensor.dim()))).contiguous()
    return lambda base: base.permute(*reversed(range(base.dim()))), made


def expanded(tensor):
    """One row for all."""
    return lambda base: base.expand(tensor.shape), tensor[:1].contiguous()


def last_expanded(tensor):
    return lambda base: base.expand(tensor.shape), tensor[..., :1].contiguous()


def offset(tensor):
    """Contiguous, but not where an allocation begins."""
    made = torch.cat([torch.zeros(1, dtype=tensor.dtype), tensor.flatten()])
    return lambda base: base[1:].view(tensor.shape), made


VIEWS = (strided, first_strided, transposed, expanded, last_expanded, offset)


@pytest.fixture
def take(monkeypatch):
    """A function that makes a kernel take one of its paths, and gives its operator."""

    def choose(name, path):
        if path == "triton":
            pytest.importorskip("triton", reason="no Triton; pip install triton")
            monkeypatch.setattr(import_module(f"{KERNELS[name]}.ops"), "launchable", lambda _: True)
        if name == "selective_scan":
            monkeypatch.setattr(import_module(f"{KERNELS[name]}.gpu"), "CHUNK", 8)
        if path == "cpp" and not import_module(f"{KERNELS[name]}.native")._library():
            pytest.skip("no C++ compiler; install one, e.g. g++")
        kernel = getattr(import_module(KERNELS[name]), "KERNEL", None)
        return token_logprob if kernel is None else with_bias(kernel.operator, name)

    return choose


def with_bias(operator, name):
    """nf4_linear's row of the registry has no bias; its operator does."""
    if name != "nf4_linear":
        return operator
    from alignmeter_kernels.nf4_linear import Nf4Weight, nf4_linear

    return lambda x, bias, **parts: nf4_linear(x, Nf4Weight(**parts), bias)


def results(operator, path, tensors, options, leaves, backwards=torch.Tensor.contiguous):
    """Outputs, and gradients of ``leaves`` under a fixed functional. ``backwards``: the layout in
    which the gradients of the outputs come."""
    if path == "torch":
        with portable_only():
            return _results(operator, tensors, options, leaves, backwards)
    return _results(operator, tensors, options, leaves, backwards)


def _results(operator, tensors, options, leaves, backwards):
    given = operator(**tensors, **options)
    outputs = [
        out for out in (given if isinstance(given, tuple) else (given,)) if out.requires_grad
    ]
    draw = torch.Generator().manual_seed(1)
    above = [backwards(torch.randn(out.shape, generator=draw)) for out in outputs]
    gradients = torch.autograd.grad(outputs, leaves, above) if leaves else ()
    return [out.detach() for out in outputs] + list(gradients)


def assert_same(found, wanted):
    """Sums may be taken in another order: 64 u of the largest entry of all, since the gradient of
    a head whose rows are one is zero but for its rounding."""
    assert len(found) == len(wanted) > 0
    bound = 64 * torch.finfo(torch.float32).eps * max(t.abs().max().item() for t in wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max().item() <= bound


EVERY = [(name, path) for name, paths in PATHS.items() for path in paths]


def laid_out(case, way):
    """The case's tensors, as ``way`` lays those that can be, and what gradients are wanted of."""
    tensors, leaves = case.make("cpu", torch.float32), []
    for name, tensor in tensors.items():
        base = tensor
        if name not in REFUSED | _too_flat(tensors, way):
            view, base = way(tensor.detach())
            base.requires_grad_(tensor.requires_grad)
            tensors[name] = view(base)
            assert tensors[name].shape == tensor.shape
        if base.requires_grad:
            leaves.append(base)
    return tensors, leaves


def _too_flat(tensors, way):
    least = {offset: 0, first_strided: 2, transposed: 2}.get(way, 1)
    return {name for name, tensor in tensors.items() if tensor.dim() < least}


@pytest.mark.parametrize(*crossed(named=EVERY, way=VIEWS))
def test_arguments_may_lie_anyhow(take, named, way):
    """All of them at once: where they agree with copies, none was read wrongly."""
    name, path = named
    operator, case = take(name, path), CASES[name]
    tensors, leaves = laid_out(case, way)
    copies = {argument: tensor.contiguous() for argument, tensor in tensors.items()}
    wanted = results(operator, path, copies, case.options, leaves)
    assert_same(results(operator, path, tensors, case.options, leaves), wanted)
    assert paths_run()[name] == path


@pytest.mark.parametrize("argument", sorted(REFUSED))
@pytest.mark.parametrize("path", PATHS["nf4_linear"])
def test_a_weight_that_would_have_to_be_copied_is_refused(take, path, argument):
    operator, case = take("nf4_linear", path), CASES["nf4_linear"]
    tensors = case.make("cpu", torch.float32)
    view, base = strided(tensors[argument])
    with pytest.raises(ValueError, match=f"{argument} is not contiguous"):
        operator(**{**tensors, argument: view(base)}, **case.options)


def of_one(tensor):
    """As `sum` gives it: one number seen everywhere."""
    return tensor.flatten()[:1].view((1,) * tensor.dim()).expand(tensor.shape)


@pytest.mark.parametrize(*crossed(named=EVERY, way=[strided, transposed, of_one]))
def test_gradients_may_come_back_anyhow(take, named, way):
    name, path = named
    operator, case = take(name, path), CASES[name]

    def backwards(tensor):
        if way is of_one:
            return of_one(tensor)
        view, base = way(tensor)
        return view(base)

    found = []
    for layout in (backwards, lambda tensor: backwards(tensor).contiguous()):
        tensors = case.make("cpu", torch.float32)
        leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
        found.append(results(operator, path, tensors, case.options, leaves, layout))
    assert_same(*found)
    assert paths_run()[name] == path


OPTIONAL = {
    "ssd_scan": {"D", "dt_bias", "initial_state"},
    "causal_conv1d": {"bias"},
    "selective_scan": {"D", "z", "delta_bias", "initial_state"},
}


@pytest.mark.parametrize(("name", "path"), [row for row in EVERY if row[1] != "torch"])
@pytest.mark.parametrize("least", [False, True])
def test_paths_agree_through_the_operator(take, name, path, least):
    """Also as autograd calls it, where the results of an operator may not share a storage."""
    operator, case = take(name, path), CASES[name]
    absent = OPTIONAL.get(name, set()) if least else set()
    found = []
    for tried in (path, "torch"):
        tensors = case.make("cpu", torch.float32)
        tensors = {argument: t for argument, t in tensors.items() if argument not in absent}
        leaves = [tensor for tensor in tensors.values() if tensor.requires_grad]
        with pytest.MonkeyPatch.context() as patch:
            if tried == "torch" and path == "triton":
                patch.setattr(import_module(f"{KERNELS[name]}.ops"), "launchable", lambda _: False)
            found.append(results(operator, tried, tensors, case.options, leaves))
        assert paths_run()[name] == tried
    assert_same(*found)


def test_a_launch_refuses_a_tensor_with_gaps():
    """The functions know shapes, no strides: what an operator forgets shows at once."""
    pytest.importorskip("triton", reason="no Triton; pip install triton")
    from alignmeter_kernels.nf4_linear import kernel

    values = torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"rescale: levels \(4,\) has strides \(2,\); want it"):
        launch(
            kernel.rescale, (1,), torch.zeros(4), values[:, 0], torch.zeros(4), torch.zeros(4), 4,
            tile=Tile(blocks={"BLOCK": 64}), NESTED=256,
        )  # fmt: skip
