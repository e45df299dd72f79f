"""Inputs of `linear_logprob`: T tokens, width H, vocabulary V."""

__all__ = ["CASES", "CHECK"]

from alignmeter_kernels.inputs import Case, TensorSpec


def _case(
    name: str, tokens: int, width: int, vocabulary: int, *, frozen: bool, chips: bool
) -> Case:
    return Case(
        name=name,
        tensors={
            "hidden": TensorSpec(shape=(tokens, width)),
            "weight": TensorSpec(shape=(vocabulary, width), scale=width**-0.5, frozen=frozen),
            "labels": TensorSpec(shape=(tokens,), kind="labels", high=vocabulary),
        },
        chips=chips,
    )


CHECK = _case("check", 63, 60, 1000, frozen=False, chips=False)
CASES = (
    _case("t1024-h256-v128256-trained", 1024, 256, 128256, frozen=False, chips=False),
    _case("t1024-h256-v128256-frozen", 1024, 256, 128256, frozen=True, chips=False),
    _case("llama-3-8b", 2048, 4096, 128256, frozen=False, chips=True),
    _case("mamba-2.8b", 2048, 2560, 50280, frozen=True, chips=False),
)
