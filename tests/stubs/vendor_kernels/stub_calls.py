"""What was called of the packages beside this file, by the functions' names."""

CALLS = []
REFUSED = False
"""Whether a call is a fault."""


def called(name):
    CALLS.append(name)
    if REFUSED:
        raise AssertionError(f"{name} was called")
