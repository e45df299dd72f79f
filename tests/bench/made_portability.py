"""Portability tables for tests: rows that hold, with chosen faults."""

from alignmeter.records.portability import SCHEMA_VERSION, Portability, PortabilityRow


def make_row(**changes):
    """A matrix product on an H100 that holds everything."""
    row = {
        "kernel": "linear_logprob", "case": "llama-3-8b", "dtype": "bfloat16", "function": "slopes",
        "chip": "sm_90", "example": "H100", "data_centre": True, "warps": 8,
        "blocks": {"BT": 128, "PRECISION": "ieee", "EPS": 1e-6, "TRAINED": True}, "registers": 110,
        "spills": 0, "shared_bytes": 98304, "occupancy": 16, "occupancy_unit": "warps/SM",
        "matrix": "wgmma.mma_async", "wants_matrix": True,
    }  # fmt: skip
    return PortabilityRow(**row | changes)


def make_table(*rows, **changes):
    """The rows as one `alignmeter kernels` would store them."""
    table = {"schema_version": SCHEMA_VERSION, "triton": "3.9.0", "alignmeter": "0.2.0"}
    return Portability(**table | changes, rows=list(rows))
