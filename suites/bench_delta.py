"""DPO versus PPO in every layout of PPO: topology x backward x PEFT x architecture."""

MATRIX = "delta"


def bench_delta(cell):
    cell.measure()
