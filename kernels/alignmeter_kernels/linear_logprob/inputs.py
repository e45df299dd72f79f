"""Inputs of `linear_logprob`: T tokens, width H, vocabulary V."""

__all__ = ["CASES", "CHECK", "case"]

from alignmeter_kernels.inputs import Case, TensorSpec


def case(
    name: str, tokens: int, width: int, vocabulary: int, *, frozen: bool, chips: bool = False
) -> Case:
    """The head of a model; ``frozen``: of one that trains adapters."""
    return Case(
        name=name,
        tensors={
            "hidden": TensorSpec(shape=(tokens, width)),
            "weight": TensorSpec(shape=(vocabulary, width), scale=width**-0.5, frozen=frozen),
            "labels": TensorSpec(shape=(tokens,), kind="labels", high=vocabulary),
        },
        chips=chips,
    )


CHECK = case("check", 63, 60, 1000, frozen=False)
CASES = (
    case("t1024-h256-v128256-trained", 1024, 256, 128256, frozen=False),
    case("t1024-h256-v128256-frozen", 1024, 256, 128256, frozen=True),
    case("llama-3-8b", 2048, 4096, 128256, frozen=False, chips=True),
    case("mamba-130m", 1024, 768, 50280, frozen=True, chips=True),
    case("mamba-2.8b", 2048, 2560, 50280, frozen=True),
)
