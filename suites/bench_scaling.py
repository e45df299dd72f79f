"""Time and memory of a DPO and a PPO step against sequence length, attention and scan apart."""

MATRIX = "scaling"


def bench_scaling(cell):
    cell.measure()
