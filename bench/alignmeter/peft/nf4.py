"""NF4 weights through bitsandbytes, on the CPU too."""

__all__ = [
    "BLOCKSIZE",
    "copied",
    "nf4_settings",
    "nf4_weight",
    "packed_bytes",
    "quantisation_tensors",
    "quantise",
    "settle",
    "widen",
]

import copy
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from alignmeter.architectures.precision import precision_of
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.cell import Cell
from alignmeter.streams import quiet
from alignmeter_kernels.nf4_linear import Nf4Weight, nf4_linear

BLOCKSIZE = 64
"""bitsandbytes' default has been 128 on CDNA and 64 elsewhere, depending on the version."""
_NESTED = 256
"""Blocks whose scales share a scale."""


def nf4_settings(cell: Cell) -> dict[str, float | int | str]:
    """The quantiser as it is given to bitsandbytes; nothing is left to its defaults."""
    compute = str(precision_of(cell.precision).compute).removeprefix("torch.")
    return {
        "quantiser": "nf4",
        "blocksize": BLOCKSIZE,
        "double_quantisation": "on",
        "compute_dtype": compute,
    }


def packed_bytes(values: int) -> int:
    """Of a matrix of so many values: half a byte each, a byte for each block of 64, a float for
    each 256 blocks.
    """
    blocks = -(-values // BLOCKSIZE)
    return -(-values // 2) + blocks + 4 * -(-blocks // _NESTED)


def quantise(
    model: nn.Module, *, skip: tuple[str, ...], compute: torch.dtype, kernels: str
) -> nn.Module:
    """Replace every linear layer not named in ``skip`` by an NF4 one with double quantisation.

    The weights are packed when the model moves to its device (bitsandbytes does it in ``to``); of
    shapes come the shapes of packed ones. ``kernels``: with ``custom`` the layers run `nf4_linear`
    on bitsandbytes' tensors.
    """
    with quiet():
        import_module("bitsandbytes")
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and name.rpartition(".")[2] not in skip:
            parent, _, child = name.rpartition(".")
            pack = _traced if is_tracing() else _shape if module.weight.is_meta else _packed
            setattr(model.get_submodule(parent), child, pack(module, compute, kernels))
    return model


def widen(model: nn.Module) -> None:
    """Bring weights that are not packed to fp32, in place: embeddings, norms, heads and what the
    model reads without calling it (peft's ``prepare_model_for_kbit_training``).
    """
    packed = {id(m.weight) for m in model.modules() if getattr(m, "compute_dtype", None)}
    wide: dict[int, nn.Parameter] = {}  # a tied weight stays one
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if id(weight) not in packed:
                if id(weight) not in wide:
                    wide[id(weight)] = nn.Parameter(weight.data.float(), weight.requires_grad)
                module.register_parameter(name, wide[id(weight)])


def _packed(linear: nn.Linear, compute: torch.dtype, kernels: str) -> nn.Module:
    from bitsandbytes.nn.modules import Params4bit

    layer: Any = _layer(kernels)
    packed = layer(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=compute,
        quant_type="nf4",
        device="meta",  # it would draw weights of its own first, on the host
    )
    packed.weight = Params4bit(
        linear.weight.data,
        requires_grad=False,
        quant_type="nf4",
        blocksize=BLOCKSIZE,
        compress_statistics=True,
        module=packed,
    )
    if linear.bias is not None:
        packed.bias = linear.bias
    # On CPUs with AVX512-BF16, bitsandbytes 0.50 repacks the weights for good in the first no-grad
    # eval forward, and later training forwards use a kernel without a gradient: log-probs shift
    # and lora_B gradients vanish in silence. tests/bench/test_models_and_peft.py compares both
    # sides.
    packed.support_avx512bf16_for_cpu = False
    return packed  # type: ignore[no-any-return]


def copied(model: nn.Module) -> nn.Module:
    """An independent copy.

    bitsandbytes would copy a weight with its scales, but leave it with the original's layer, and
    the layer with scales of its own.
    """
    tensors = (*model.buffers(), *quantisation_tensors(model))
    memo: dict[int, Any] = {id(tensor): tensor.clone() for tensor in tensors}
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            memo[id(weight)] = twin = copy.copy(weight)
            twin.data = weight.data.clone()
            twin.quant_state = copy.deepcopy(state, memo)  # type: ignore[attr-defined]
    found = copy.deepcopy(model, memo)
    settle(found.modules())
    return found


def settle(modules: Iterable[nn.Module]) -> None:
    """Give layers the scales of the weights that have come to them: FSDP leaves a weight none."""
    for module in modules:
        layer: Any = module
        if getattr(getattr(layer, "weight", None), "quant_state", None) is not None:
            layer.weight.module, layer.quant_state = layer, layer.weight.quant_state


def _traced(linear: nn.Linear, compute: torch.dtype, kernels: str) -> nn.Module:
    """The layer with storage of its exact size: bitsandbytes reads values while it quantises."""
    kind = _layer(kernels) if kernels == "custom" else _stock_layer_without_data()
    packed = _without_values(kind, linear, compute, torch.device("cpu"))
    packed.quant_state = _quant_state(linear.weight.shape, linear.weight.dtype)
    packed.weight.quant_state = packed.quant_state
    return packed  # type: ignore[no-any-return]


def _shape(linear: nn.Linear, compute: torch.dtype, kernels: str) -> nn.Module:
    """The layer before it has a weight, which comes with its scales (`settle`)."""
    found: nn.Module = _without_values(_layer(kernels), linear, compute, torch.device("meta"))
    return found


def _without_values(kind: Any, linear: nn.Linear, compute: torch.dtype, place: torch.device) -> Any:
    packed = kind.__new__(kind)
    nn.Module.__init__(packed)
    packed.in_features, packed.out_features = linear.in_features, linear.out_features
    packed.bias = linear.bias
    packed.compute_dtype, packed.compute_type_is_set = compute, True
    packed.quant_state, packed.quant_storage = None, None
    packed.support_avx512bf16_for_cpu = False
    data = torch.empty(-(-linear.weight.numel() // 2), 1, dtype=torch.uint8, device=place)
    weight: Any = nn.Parameter(data, requires_grad=False)
    weight.quant_type, weight.blocksize, weight.compress_statistics = "nf4", BLOCKSIZE, True
    weight.bnb_quantized = True
    packed.weight = weight
    return packed


@cache
def _stock_layer_without_data() -> type[nn.Module]:
    """bitsandbytes' layer, which makes a parameter that FSDP has gathered one of its own class
    again; a tensor without data cannot become one, and needs the state alone.
    """
    from bitsandbytes.nn.modules import Linear4bit

    class Stock(Linear4bit):
        """As it is, once the weight has its state."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """As bitsandbytes'."""
            weight: Any = self.weight
            if getattr(weight, "quant_state", None) is None:
                weight.quant_state = self.quant_state
            y: torch.Tensor = super().forward(x)
            return y

    return Stock


def _quant_state(shape: torch.Size, dtype: torch.dtype) -> Any:
    """Double quantisation: a byte per block of 64 weights, a float per 256 blocks, two tables."""
    from bitsandbytes.functional import QuantState

    blocks = -(-shape.numel() // BLOCKSIZE)
    nested = QuantState(
        absmax=torch.empty(-(-blocks // _NESTED)),
        blocksize=_NESTED,
        code=torch.empty(256),
        dtype=torch.float32,
    )
    return QuantState(
        absmax=torch.empty(blocks, dtype=torch.uint8),
        shape=shape,
        dtype=dtype,
        blocksize=BLOCKSIZE,
        code=torch.empty(16),
        quant_type="nf4",
        offset=torch.empty(()),
        state2=nested,
    )


def _layer(kernels: str) -> type[nn.Module]:
    """The class of the layers: with ``custom`` they run `nf4_linear` on bitsandbytes' tensors."""
    from bitsandbytes.nn.modules import Linear4bit

    stock: type[nn.Module] = Linear4bit
    return _custom_layer() if kernels == "custom" else stock


@cache
def _custom_layer() -> type[nn.Module]:
    """bitsandbytes' layer with `nf4_linear` as its product; late, as bitsandbytes is an extra."""
    from bitsandbytes.nn.modules import Linear4bit

    class Nf4Linear(Linear4bit):
        """A `Linear4bit` to peft and to checkpoints; dtypes are cast as it casts them."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            """[..., in] to [..., out] in ``x``'s dtype, computed in ``compute_dtype``."""
            bias = None if self.bias is None else self.bias.to(self.compute_dtype)
            weight = nf4_weight(self.weight, self.quant_state)
            y = nf4_linear(x.to(self.compute_dtype), weight, bias)
            return y.to(x.dtype)

    return Nf4Linear


def nf4_weight(packed: torch.Tensor, state: Any) -> Nf4Weight:
    """The tensors of NF4 weights, none of them copied.

    ``state``: the layer's own ``quant_state``. The parameter has it too until FSDP puts another one
    in its place, which has not.

    Cheap enough for each forward pass, so that nothing goes stale when a model moves.

    Raises:
        ValueError: if it is not quantised yet, or in another format.
    """
    if state is None or state.quant_type != "nf4":
        raise ValueError("the weight is not NF4; a model is quantised when it moves to its device")
    levels = nested = offset = None
    if state.nested:
        levels, nested, offset = state.state2.code, state.state2.absmax, state.offset
    return Nf4Weight(
        packed=packed.data,
        absmax=state.absmax,
        shape=(state.shape[0], state.shape[1]),
        blocksize=state.blocksize,
        levels=levels,
        nested_absmax=nested,
        offset=offset,
    )


def quantisation_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Scales, codes and offsets that belong to the NF4 weights of ``model``."""
    for module in model.modules():
        state = getattr(module, "quant_state", None)
        while state is not None:
            for value in vars(state).values():
                if isinstance(value, torch.Tensor):
                    yield value
            state = state.state2
