"""Every method on every architecture in every PEFT mode."""

MATRIX = "methods"


def bench_methods(cell):
    cell.measure()
