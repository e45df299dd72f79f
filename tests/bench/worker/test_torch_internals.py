"""Canaries: what a release of torch may change without a word."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alignmeter.worker.memory import torch_internals as internals


def assert_has(place, name, for_what):
    assert hasattr(place, name), (
        f"torch {torch.__version__} has no {place.__name__}.{name}, which {for_what}; "
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
