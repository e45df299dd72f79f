"""Inputs of `nf4_linear`: T tokens, an [out, in] weight in blocks of 64, doubly quantised."""

__all__ = ["CASES", "CHECK", "case"]

from alignmeter_kernels.inputs import Case, TensorSpec
from alignmeter_kernels.nf4_linear.reference import NESTED

_BLOCKSIZE = 64


def case(name: str, tokens: int, out: int, width: int, *, chips: bool = False) -> Case:
    """A quantised layer. Scales lie between 0.5 and 2.5 / sqrt(in), as such a weight's do."""
    blocks = -(-out * width // _BLOCKSIZE)
    usual = width**-0.5
    return Case(
        name=name,
        tensors={
            "x": TensorSpec(shape=(tokens, width)),
            "packed": TensorSpec(shape=(-(-out * width // 2),), kind="bytes"),
            "absmax": TensorSpec(shape=(blocks,), kind="bytes"),
            "levels": TensorSpec(shape=(256,), scale=0.3, wide=True, frozen=True),
            "nested_absmax": TensorSpec(
                shape=(-(-blocks // NESTED),),
                scale=0.1 * usual,
                shift=usual,
                wide=True,
                frozen=True,
            ),
            "offset": TensorSpec(
                shape=(), scale=0.1 * usual, shift=2.5 * usual, wide=True, frozen=True
            ),
        },
        options={"shape": (out, width), "blocksize": _BLOCKSIZE},
        chips=chips,
    )


CHECK = case("t63-61x192", 63, 61, 192)
CASES = (
    case("t1024-4096x4096", 1024, 4096, 4096),
    case("llama-3-8b-up", 2048, 14336, 4096, chips=True),
    case("llama-3-8b-query", 2048, 4096, 4096, chips=True),
    case("llama-3-8b-decode", 8, 4096, 4096, chips=True),
    case("mamba-130m-in", 1024, 3072, 768, chips=True),
    case("llama-130m-query", 1024, 768, 768, chips=True),
    case("mamba-2.8b-in", 2048, 10240, 2560),
    case("blocks-across-rows", 1000, 1000, 1000, chips=True),
)
