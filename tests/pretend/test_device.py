"""What the pretended device does as a real one does: each of these is what a test relies on."""

import pytest

KINDS = ("cuda", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("rocm", "xpu")))
"""The last is compiled by itself."""
SETUP = """
import torch
name = "xpu" if torch.version.xpu else "cuda"
module, device = torch.get_device_module(name), torch.device(name, 0)
"""


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_trains_on_it_and_its_allocator_keeps_count(pretend, kind):
    """The backward pass runs in the device's own thread; 512 bytes are the least that is given."""
    said = pretend(kind).python(
        SETUP
        + """
import threading
layer = torch.nn.Linear(5, 4).to(device)
threads = []
layer.weight.register_hook(lambda _: threads.append(threading.current_thread()))
before = module.memory_allocated()
layer(torch.ones(2, 5, device=device)).relu().sum().backward()
torch.optim.AdamW(layer.parameters(), fused=True).step()
print(layer.weight.grad.device.type == name, threads[0] is not threading.main_thread())
one = torch.empty(1, device=device)
now = module.memory_allocated()
del one
print(now - module.memory_allocated(), module.max_memory_reserved() % 2**21)
"""
    )
    assert said.split() == ["True", "True", "512", "0"]


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_an_event_cannot_be_read_before_the_device_was_waited_for(pretend, kind):
    said = pretend(kind).python(
        SETUP
        + """
first, last = (module.Event(enable_timing=True) for _ in range(2))
first.record()
last.record()
try:
    first.elapsed_time(last)
except RuntimeError as error:
    print(error)
module.synchronize()
print(first.elapsed_time(last) >= 0)
"""
    )
    assert said.splitlines() == ["CUDA error: device not ready", "True"]


@pytest.mark.full
def test_a_seed_gives_the_same_numbers(pretend):
    said = pretend("cuda").python(
        SETUP
        + """
def drawn():
    torch.manual_seed(3)
    own = torch.Generator(device).manual_seed(5)
    return torch.cat([torch.rand(3, device=device), torch.rand(3, generator=own, device=device)])
print(torch.equal(drawn(), drawn()))
"""
    )
    assert said.split() == ["True"]


@pytest.mark.full
def test_a_fork_of_a_process_that_used_it_cannot(pretend):
    said = pretend("cuda").python(
        SETUP
        + """
import os
torch.ones(1, device=device).sum().item()
module.init()
if os.fork() == 0:
    try:
        module.current_device()
    except RuntimeError as error:
        print(str(error)[:33], flush=True)
    os._exit(0)
os.wait()
"""
    )
    assert said.strip() == "Cannot re-initialize CUDA in fork"


@pytest.mark.full
def test_asking_nvml_leaves_it_alone_and_asking_the_driver_does_not(pretend, tmp_path):
    for checked, initialised in ((1, False), (0, True)):
        trace = tmp_path / f"trace{initialised}"
        code = "import torch; print(torch.cuda.is_available())"
        assert pretend("cuda").python(
            code, trace=trace, PYTORCH_NVML_BASED_CUDA_CHECK=checked
        ).split() == ["True"]
        assert trace.exists() == initialised


@pytest.mark.full
def test_it_ends_where_its_memory_ends(pretend):
    said = pretend("cuda").python(
        SETUP
        + """
kept = torch.empty(64 * 2**20, dtype=torch.uint8, device=device)
del kept
small = torch.empty(2**19, dtype=torch.uint8, device=device)
try:
    torch.empty(600 * 2**20, dtype=torch.uint8, device=device)
except torch.OutOfMemoryError as error:
    print(str(error)[:18].strip("."), module.memory_reserved())  # what was free is given back first
""",
        capacity=1100 * 2**20,
    )
    assert said.split() == ["CUDA", "out", "of", "memory", str(2 * 2**20)]


@pytest.mark.full
def test_each_thread_that_multiplies_keeps_a_workspace(pretend):
    said = pretend("cuda").python(
        SETUP
        + """
a = torch.ones(8, 8, device=device, requires_grad=True)
start = module.memory_allocated()
product = a @ a
forward = module.memory_allocated() - start
product.sum().backward()
a.grad = product = None
print(forward - 512, module.memory_allocated() - start)
torch._C._cuda_clearCublasWorkspaces()
print(module.memory_allocated() - start)
""",
        workspace=32 * 2**20,
    )
    assert said.split() == [str(32 * 2**20), str(64 * 2**20), "0"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("kind", "mask"), [("cuda", "CUDA_VISIBLE_DEVICES=-1"), ("rocm", "HIP_VISIBLE_DEVICES=3")]
)
def test_a_device_that_a_variable_hides_is_missing_with_that_variable(pretend, kind, mask):
    variable, _, value = mask.partition("=")
    ask = "from alignmeter.accelerators import missing_text as why"
    said = pretend(kind).python(f"{ask}\nprint(why({kind!r}))", **{variable: value})
    assert f"torch sees no such device: {mask} leaves none" in said


@pytest.mark.full
def test_plans_know_its_allocator(pretend):
    """Random sizes and lives: after each turn both have asked for as much. Large sizes are hardly
    ever alike, and small ones always are: among equal blocks the lower address is taken, and
    addresses are the device's.
    """
    said = pretend("cuda").python(
        SETUP
        + """
import random
from alignmeter.planner.segments import CachingAllocator
draw, own, live = random.Random(4), CachingAllocator(), []
for _ in range(2000):
    if live and draw.random() < 0.5:
        tensor, block = live.pop(draw.randrange(len(live)))
        del tensor
        own.release(block)
    else:
        count = draw.choice([2**19, int(2 ** draw.uniform(20.01, 26))])
        live.append((torch.empty(count, dtype=torch.uint8, device=device), own.allocate(count)))
    seen = module.memory_allocated(), module.memory_reserved()
    assert seen == (own.allocated_bytes, own.reserved_bytes), seen
print(len(live) > 10)
"""
    )
    assert said.split() == ["True"]
