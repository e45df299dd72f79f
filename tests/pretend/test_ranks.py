"""Steps that ranks share, on the device: this process is one of two, and the other is not there.

Torch's ``fake`` process group has collectives of the right shapes that move nothing, so a loss says
nothing here. What the vendors' own backends do is not pretended.
"""

import json

import pytest
from deep_config import write_deep_config

STEPS = """
import gc
import json
import sys

import torch

from alignmeter.accelerators import open_accelerator
from alignmeter.architectures.checkpoint import Checkpoint
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.planner import predict
from alignmeter.planner.fake_ranks import fake_ranks
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.step import SilentProbe
from alignmeter.worker.memory.torch_internals import forget_library_workspaces

kind, late, *cells = sys.argv[1:]
device = torch.device("xpu" if kind == "xpu" else "cuda", 0)
memory = torch.xpu if kind == "xpu" else torch.cuda
if late == "late":
    Checkpoint.drawing_device = lambda self, **_: device.type


def measured(axes):
    cell = resolve_cell(axes).cell
    planned = predict(cell).peak_bytes
    gc.collect()
    forget_library_workspaces()
    left = memory.memory_allocated()
    with fake_ranks(cell.world_size):
        memory.reset_peak_memory_stats()
        setup, method = open_setup(cell, device, seed=0), open_method(cell.method)
        step = method.build(setup)
        built = memory.max_memory_allocated() - left
        source = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
        step.prepare(source, SilentProbe())
        for number in range(3):
            memory.reset_peak_memory_stats()
            step.run(source.take(number, device, method.rows), SilentProbe())
        weights = {id(p): p for model in step.models().values() for p in model.parameters()}
        assert all(p.device == device for p in weights.values())
        return {
            "built": built,
            "peak": memory.max_memory_allocated() - left,
            "planned": planned,
            "backend": open_accelerator(cell.accelerator).collectives,
            "held": sum(getattr(p, "to_local", lambda p=p: p)().nbytes for p in weights.values()),
        }


print(json.dumps([measured(json.loads(axes)) for axes in cells]))
"""
MIB = 2**20
SMALL = {"data": "synthetic", "kernels": "stock", "seq_len": 16, "batch": 4}
SHARED = {"ppo_topology": "shared", "ppo_backward": "joint"}


def steps(machine, *cells, late="", **options):
    options = {"workspace": 32 * MIB, **options}
    given = [json.dumps({"accelerator": machine.kind, **SMALL, **axes}) for axes in cells]
    said = machine.python(STEPS, machine.kind, late, *given, **options)
    return json.loads(said.splitlines()[-1])


@pytest.mark.full
@pytest.mark.parametrize(
    "axes",
    [
        {"method": "dpo", "peft": "full"},
        {"method": "ppo", "peft": "lora", **SHARED},
        {"method": "grpo", "peft": "qlora", "architecture": "mamba2"},
        {"method": "sft", "peft": "full", "precision": "bf16-mixed", "batching": "padded"},
    ],
    ids=lambda axes: axes["method"],
)
def test_a_rank_takes_its_steps_with_half_of_the_weights_as_it_was_planned(axes, pretend):
    modes = {}, {"world_size": 2, "parallel": "fsdp2"}, {"world_size": 2, "parallel": "ddp"}
    one, half, all_of_it = steps(pretend("cuda"), *[{**axes, **mode} for mode in modes])
    assert half["held"] == pytest.approx(one["held"] / 2, rel=0.02)
    assert all_of_it["held"] == one["held"]
    assert half["peak"] < one["peak"]
    assert half["backend"] == "nccl"
    for rank in (half, all_of_it):
        assert rank["peak"] == pytest.approx(rank["planned"], rel=0.02)


@pytest.mark.full
@pytest.mark.parametrize("peft", ["full", "qlora"])
def test_no_rank_has_a_model_whole_while_it_is_made(peft, pretend, tmp_path):
    axes = {"method": "sft", "peft": peft, "model": write_deep_config(tmp_path), "world_size": 2}
    whole, late = (steps(pretend("cuda"), axes, late=late)[0] for late in ("", "late"))
    assert late["held"] == whole["held"]
    assert late["built"] < 0.8 * whole["built"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["rocm", "xpu"])
def test_other_vendors_ranks_do_too(kind, pretend):
    one, half = (
        steps(pretend(kind), {"method": "dpo", "peft": "full", "world_size": size})[0]
        for size in (1, 2)
    )
    assert half["held"] == pytest.approx(one["held"] / 2, rel=0.02)
    assert half["backend"] == {"rocm": "nccl", "xpu": "xccl"}[kind]
