"""Inputs of `selective_scan`: rows, width D, T tokens, N states, as a Mamba layer makes them."""

__all__ = ["CASES", "CHECK", "case"]

from alignmeter_kernels.inputs import Case, TensorSpec


def case(name: str, rows: int, width: int, length: int, *, chips: bool = False) -> Case:
    """A layer of ``width`` D: every published Mamba has 16 states and a bias in its step sizes."""
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


CHECK = case("check", 2, 5, 67)
CASES = (
    case("b1-d512-l256", 1, 512, 256),
    case("b1-d512-l1024", 1, 512, 1024),
    case("b1-d512-l4096", 1, 512, 4096),
    case("b1-d512-l16384", 1, 512, 16384),
    case("mamba-130m", 2, 1536, 1024, chips=True),
    case("mamba-2.8b", 4, 5120, 2048, chips=True),
)
