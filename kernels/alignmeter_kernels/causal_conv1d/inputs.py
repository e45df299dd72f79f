"""Inputs of `causal_conv1d`: rows, width D, T tokens, four taps as in every published Mamba."""

__all__ = ["CASES", "CHECK", "case"]

from alignmeter_kernels.inputs import Case, TensorSpec


def case(name: str, rows: int, width: int, length: int, *, chips: bool = False) -> Case:
    """The convolution of a layer of ``width`` D."""
    return Case(
        name=name,
        tensors={
            "x": TensorSpec(shape=(rows, width, length)),
            "weight": TensorSpec(shape=(width, 4), scale=0.5),
            "bias": TensorSpec(shape=(width,)),
        },
        options={"silu": True},
        chips=chips,
    )


CHECK = case("check", 2, 5, 63)
CASES = (
    case("b1-d512-l1024", 1, 512, 1024),
    case("b1-d512-l4096", 1, 512, 4096),
    case("mamba-130m", 2, 1536, 1024),
    case("mamba-2.8b", 4, 5120, 2048, chips=True),
)
