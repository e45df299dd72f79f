"""Time and memory of a DPO and a PPO step versus sequence length, attention and scan apart."""

MATRIX = "scaling"


def bench_scaling(cell):
    cell.measure()
