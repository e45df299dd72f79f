"""How much fits: the largest batch and the longest sequence within a limit of memory, by trying.

``pytest --benchmark suites/bench_capacity.py --memory-limit 64MiB``; on an accelerator the limit is
the device's memory unless one is given.
"""

MATRIX = "capacity"


def bench_largest_batch(largest_batch):
    largest_batch.measure()


def bench_longest_sequence(longest_sequence):
    longest_sequence.measure()
