"""Inputs of `ssd_scan`: rows, T tokens, H heads of width P, G groups, N states."""

__all__ = ["CASES", "CHECK", "case"]

from alignmeter_kernels.inputs import Case, TensorSpec

_STEP = -4.6
"""softplus gives 0.01: Mamba-2 begins with step sizes of 1e-3 to 1e-1."""


def case(
    name: str,
    rows: int,
    length: int,
    heads: int,
    groups: int = 1,
    *,
    width: int = 64,
    states: int = 128,
    chips: bool = False,
) -> Case:
    """A layer of ``heads``, of which those of a group share B and C."""
    return Case(
        name=name,
        tensors={
            "x": TensorSpec(shape=(rows, length, heads, width)),
            "dt": TensorSpec(shape=(rows, length, heads), scale=0.5),
            "A": TensorSpec(shape=(heads,), kind="decay", wide=True),
            "B": TensorSpec(shape=(rows, length, groups, states)),
            "C": TensorSpec(shape=(rows, length, groups, states)),
            "D": TensorSpec(shape=(heads,), wide=True),
            "dt_bias": TensorSpec(shape=(heads,), shift=_STEP, wide=True),
        },
        options={"dt_softplus": True},
        chips=chips,
    )


CHECK = case("check", 2, 131, 6, 2, width=60, states=63)
CASES = (
    case("mamba2-130m-t1024", 2, 1024, 24, chips=True),
    case("mamba2-2.8b", 4, 2048, 80, chips=True),
    case("mamba2-8b", 4, 2048, 128, 8, chips=True),
)
