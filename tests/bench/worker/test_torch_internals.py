"""Canaries: what a release of torch may change without a word."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from alignmeter.planner.fake_ranks import fake_ranks
from alignmeter.worker.memory import torch_internals as internals
from alignmeter.worker.memory.allocations import AllocationLog


def assert_has(place, name, for_what):
    where = getattr(place, "__name__", place)
    assert hasattr(place, name), (
        f"torch {torch.__version__} has no {where}.{name}, which {for_what}; "
        "see worker/memory/torch_internals.py"
    )


@pytest.mark.parametrize(
    ("place", "name", "for_what"),
    [
        (torch.UntypedStorage, "_cdata", "tells one storage from another"),
        (torch.autograd, "_prepare_profiler", "records the allocator's events"),
        (torch.autograd, "_enable_profiler", "records the allocator's events"),
        (torch.autograd, "_disable_profiler", "records the allocator's events"),
        (torch._C._profiler, "_ExperimentalConfig", "records the allocator's events"),
        (torch.UntypedStorage, "resize_", "FSDP frees and takes gathered weights with"),
        (torch.ops.fsdp, "all_gather_copy_in", "FSDP gathers weights with"),
        (torch.ops.fsdp, "split_with_sizes_copy", "FSDP copies gathered weights out with"),
        (torch.ops.fsdp, "chunk_cat", "FSDP copies gradients together with"),
        (nn.Module, "_apply", "moves modules without data"),
        (torch, "get_rng_state", "checkpointed blocks read"),
        (torch, "set_rng_state", "checkpointed blocks restore"),
    ],
)
def test_the_name_is_there(place, name, for_what):
    assert_has(place, name, for_what)


def test_a_module_keeps_its_tensors_under_the_two_names():
    module = nn.BatchNorm1d(2)
    assert list(module._parameters) == ["weight", "bias"]
    assert list(module._buffers) == ["running_mean", "running_var", "num_batches_tracked"]


def test_a_storage_has_one_key():
    """Each call gives another Python object of it."""
    one, other = torch.empty(4), torch.empty(4)
    key = internals.storage_key(one.untyped_storage())
    assert key == internals.storage_key(one[1:].view(3, 1).untyped_storage())
    assert key != internals.storage_key(other.untyped_storage())


def test_the_allocators_events_are_recorded_in_order():
    found = []
    with internals.recorded_memory(found):
        kept = torch.empty(12345, dtype=torch.uint8)
        del kept
        torch.empty(77, dtype=torch.uint8)
    assert found == [12345, -12345, 77, -77]


def test_checkpointed_blocks_go_through_the_given_functions():
    """If this fails, the ledger and plans miss 5 kB for each checkpointed block."""
    real = torch.get_rng_state, torch.set_rng_state
    reads, restored = [], []

    def read():
        reads.append(real[0]())
        return reads[-1]

    x = torch.ones(3, requires_grad=True)
    with internals.generator_states(read, restored.append):
        checkpoint(torch.sin, x, use_reentrant=False).sum().backward()
    assert len(reads) >= 1
    assert any(state is reads[0] for state in restored)
    assert (torch.get_rng_state, torch.set_rng_state) == real


def test_a_module_without_data_changes_dtype_and_stays_tied():
    apply = nn.Module._apply
    with internals.applied_to_copies(), internals.FakeTensorMode():
        tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
        tied[1].weight = tied[0].weight
        tied.register_buffer("table", torch.empty(5))
        tied.to(torch.bfloat16)
        assert tied[0].weight is tied[1].weight
        assert tied[0].weight.dtype == tied.table.dtype == torch.bfloat16
    assert nn.Module._apply is apply


def test_onednn_is_asked():
    assert internals.has_onednn_bf16() in (True, False)


def test_a_wrapper_stands_for_what_is_inside(wrapped):
    """Of what else it names, such as a mesh, nothing is a tensor."""
    assert [t.numel() for t in internals.plain_tensors(wrapped)] == [2, 3]
    plain = torch.ones(3)
    assert list(internals.plain_tensors(plain)) == [plain]


@pytest.fixture
def wrapped():
    class Two(torch.Tensor):
        @staticmethod
        def __new__(cls, one, other):
            return torch.Tensor._make_wrapper_subclass(cls, (100,))

        def __init__(self, one, other):
            self.one, self.other, self.mesh = one, other, "a mesh"

        def __tensor_flatten__(self):
            return ["one", "other", "mesh"], None

        @classmethod
        def __tensor_unflatten__(cls, *given):
            raise NotImplementedError

        __torch_dispatch__ = None

    return Two(torch.ones(2), torch.ones(3))


def test_a_storage_that_changes_its_size_is_seen():
    resize, seen = torch.UntypedStorage.resize_, []
    tensor = torch.ones(4)
    with internals.resized_storages(lambda storage: seen.append(storage.nbytes())):
        tensor.untyped_storage().resize_(0)
        tensor.untyped_storage().resize_(16)
    assert seen == [0, 16]
    assert torch.UntypedStorage.resize_ is resize


def test_a_log_that_is_entered_twice_goes_on_seeing_them():
    """As where an operator is watched from inside. Gathered weights would live for ever."""
    log, resize = AllocationLog(torch.device("cpu"), markers=False), torch.UntypedStorage.resize_
    with log:
        tensor = torch.ones(4)
        with log:
            torch.ones(4)
        tensor.untyped_storage().resize_(0)
        assert log.live_bytes() == 0
    assert torch.UntypedStorage.resize_ is resize


def test_ranks_that_are_not_there_take_their_shares_and_wait_for_nothing():
    with fake_ranks(8):
        assert (dist.get_rank(), dist.get_world_size()) == (0, 8)
        mesh = init_device_mesh("cpu", (8,))
        with internals.FakeTensorMode():
            model = nn.Linear(3, 16, bias=False)
            fully_shard(model, mesh=mesh)
            assert model.weight.to_local().shape == (2, 3)
            model(torch.ones(4, 3)).sum().backward()
            assert model.weight.grad.to_local().shape == (2, 3)
            dist.all_reduce(torch.ones(3))
    assert not dist.is_initialized()
