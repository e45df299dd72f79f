"""What could only be read of a device until there was one: each question a line of JSON.

    python -P examples/gpu/facts.py cuda

The answers stand beside what this project expects, from the rows of its registry.
"""

import dataclasses
import json
import os
import sys
import time
import traceback


def versions():
    import torch
    import transformers

    found = {"torch": torch.__version__, "transformers": transformers.__version__}
    found["cudnn"] = torch.backends.cudnn.version()
    try:
        import triton

        found["triton"] = triton.__version__
    except ImportError:
        found["triton"] = None
    return found


def preload(row):
    """Whether a process that was forked now could compute."""
    from alignmeter.telemetry.device_nodes import open_device_nodes
    from alignmeter.worker import preload  # noqa: F401 - imported in order to be imported

    nodes = [*row.device_nodes, *row.context_nodes]
    return {"nodes_open": open_device_nodes(os.getpid(), nodes), "environment": {
        name: value for name, value in os.environ.items() if name.startswith(("CUDA_", "HIP_"))
    }}  # fmt: skip


def forked(_):
    """A child of this process, which has done nothing but the preload: does it say it is broken?"""
    from alignmeter.accelerators import broken_by_fork

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(broken_by_fork()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return {"broken_by_fork": os.read(reading, 10).decode()}


def device(row):
    return dataclasses.asdict(row.devices()[0])


def workspaces(row):
    """Measured as the memory step does it, beside what a plan takes."""
    from alignmeter.accelerators import library_workspace_bytes as planned
    from alignmeter.worker.memory.library_workspace import library_workspace_bytes

    chip = row.devices()[0].chip
    return {"measured_bytes": library_workspace_bytes(row, row.torch_device()),
            "planned_bytes": planned(chip), "chip": chip}  # fmt: skip


SHAPES = {"llama-tiny": (4, 4, 64, 48), "llama-8b": (2, 32, 1024, 128)}


def attention(row):
    """Which of torch's attentions runs, and whether its gradients are the same three times."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from alignmeter.worker.attention import PLAIN, attention_path

    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(str(func))
            return func(*args, **(kwargs or {}))

    found = {}
    for name, shape in SHAPES.items():
        query = torch.randn(*shape, device=row.torch_device(), dtype=torch.bfloat16)
        query.requires_grad_()
        gradients, names = [], Names()
        for _ in range(3):
            query.grad = None
            with names:
                out = torch.nn.functional.scaled_dot_product_attention(
                    query, query, query, is_causal=True
                )
            out.float().square().sum().backward()
            gradients.append(query.grad.clone())
        same = all(torch.equal(gradients[0], other) for other in gradients)
        found[name] = {"ran": attention_path(names.seen) or PLAIN, "same_three_times": same}
    return found


def telemetry(row):
    """The vendor's library: tick of the counter, cost of a reading, and the process's context."""
    from alignmeter.worker.energy_window import watch
    from alignmeter.worker.meter import Meter

    meter = Meter(row)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < 1.0:
        sample = meter.read()
        count += 1
    watched, peaks = watch(meter), row.peaks(reset=False)
    context = None
    if sample.memory_process_bytes is not None and peaks is not None:
        context = sample.memory_process_bytes - peaks.reserved_bytes
    return {"library": meter.target.library, "reason": meter.target.reason,
            "read_s": 1.0 / count, "longest_tick_s": watched.tick_s, "idle_w": watched.mean_w,
            "context_bytes": context, "missing": sample.missing}  # fmt: skip


def main():
    from alignmeter.accelerators import open_accelerator

    row = open_accelerator(sys.argv[1])
    facts, failed = {}, []
    for name, ask in (
        ("preload", preload), ("forked", forked), ("versions", lambda _: versions()),
        ("device", device), ("workspaces", workspaces), ("attention", attention),
        ("telemetry", telemetry),
    ):  # fmt: skip
        try:
            facts[name] = ask(row)
        except Exception:  # noqa: BLE001 - the other questions stand
            facts[name] = {"failed": traceback.format_exc()[-600:]}
            failed.append(name)
    print(json.dumps(facts, indent=1, default=str))  # noqa: T201 - what it is for
    sys.exit(f"not answered: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
