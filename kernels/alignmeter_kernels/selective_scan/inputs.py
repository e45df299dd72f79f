"""Inputs of `selective_scan`: rows, width D, T tokens, N states, as a Mamba layer makes them."""

__all__ = ["CASES", "CHECK"]

from alignmeter_kernels.inputs import Case, TensorSpec


def _case(name: str, rows: int, width: int, length: int, *, chips: bool = False) -> Case:
    sequence, states = (rows, width, length), 16
    return Case(
        name=name,
        tensors={
            "u": TensorSpec(shape=sequence),
            "delta": TensorSpec(shape=sequence),
            "A": TensorSpec(shape=(width, states), kind="decay", wide=True),
            "B": TensorSpec(shape=(rows, states, length)),
            "C": TensorSpec(shape=(rows, states, length)),
            "D": TensorSpec(shape=(width,), wide=True),
            "z": TensorSpec(shape=sequence),
            "delta_bias": TensorSpec(shape=(width,), shift=-4.0, wide=True),
        },
        options={"delta_softplus": True},
        chips=chips,
    )


CHECK = _case("check", 2, 5, 67)
CASES = (
    _case("b1-d512-l256", 1, 512, 256),
    _case("b1-d512-l1024", 1, 512, 1024),
    _case("b1-d512-l4096", 1, 512, 4096),
    _case("b1-d512-l16384", 1, 512, 16384),
    _case("mamba-2.8b", 4, 5120, 2048, chips=True),
)
