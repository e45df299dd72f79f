"""DPO and PPO steps of every architecture and PEFT mode: ``pytest --benchmark``."""

MATRIX = "quick"


def bench_alignment(cell):
    cell.measure()
