"""This project's operators on the device at hand.

    python -P examples/gpu/kernels.py names
    python -P examples/gpu/kernels.py check KERNEL cuda
    python -P examples/gpu/kernels.py times cuda

``check``: outputs and every gradient against float64 in both dtypes, through torch. ``times``: each
kernel that passes, by itself. Beside what it replaces: ``pytest --benchmark
suites/bench_kernels.py``.
"""

import json
import os
import sys
import time
import traceback

DTYPES = ("bfloat16", "float32")
TIMED, ROUNDS = 2, 10
"""Cases of a kernel, and rounds of each."""


def kernels():
    from importlib import import_module

    from alignmeter_kernels import KERNELS

    found = (getattr(import_module(package), "KERNEL", None) for package in KERNELS.values())
    return {kernel.name: kernel for kernel in found if kernel is not None and kernel.on_chip}


def put(**row):
    print(json.dumps(row), flush=True)  # noqa: T201 - what it is for


def check(kernel, device):
    import torch

    from alignmeter_kernels.closeness import check_kernel
    from alignmeter_kernels.paths import paths_run

    right = True
    for dtype in DTYPES:
        start, said = time.perf_counter(), "ok"
        try:
            check_kernel(kernel, kernel.check, device, getattr(torch, dtype))
        except Exception:  # noqa: BLE001 - the other dtype is checked all the same
            right, said = False, traceback.format_exc()[-600:]
        path = paths_run().get(kernel.name)
        put(kernel=kernel.name, dtype=dtype, path=path, said=said, s=time.perf_counter() - start)
        right = right and path == "triton"
    return right


def times(row):
    from alignmeter.kernelbench import compare_kernel

    right = True
    for name, kernel in kernels().items():
        for case in [case for case in kernel.cases if case.chips][:TIMED]:
            for backward in (False, True):
                try:
                    timed = compare_kernel(
                        name, case.name, None, backward=backward, accelerator=row
                    )
                    timed.warm_up()
                    for _ in range(ROUNDS):
                        timed.run_ours()
                    put(case=case.name, kernel=name, backward=backward, **timed.summary())
                except Exception:  # noqa: BLE001 - the other cases are timed all the same
                    right = False
                    put(kernel=name, case=case.name, said=traceback.format_exc()[-600:])
    return right


def main():
    what, *arguments = sys.argv[1:]
    if what == "names":
        print("\n".join(kernels()))  # noqa: T201 - what it is for
        return
    from alignmeter.accelerators import open_accelerator

    row = open_accelerator(arguments[-1])
    device = str(row.torch_device())
    right = times(row) if what == "times" else check(kernels()[arguments[0]], device)
    sys.stdout.flush()
    # All is said. A thread of the backward pass that asks for Python's lock while the interpreter
    # goes would end the process with SIGABRT.
    os._exit(int(not right))


if __name__ == "__main__":
    main()
