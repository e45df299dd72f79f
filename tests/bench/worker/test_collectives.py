"""What collectives hold, send and take, from made events; on real ranks: tests of `parallel`."""

import pytest
import torch

from alignmeter.worker.collective_times import collective_times, uncovered_s
from alignmeter.worker.memory.allocations import MARKER_BYTES as MARK
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.collectives import held_on, kind_of
from alignmeter.worker.memory.cpu_events import CpuEvents

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_allgather_base_", "all_gather"),
        ("all_gather_into_tensor_out", "all_gather"),
        ("_reduce_scatter_base_", "reduce_scatter"),
        ("allreduce_", "all_reduce"),
        ("broadcast_", "broadcast"),
        ("barrier", None),
    ],
)
def test_a_collective_is_known_by_its_operator(name, kind):
    assert kind_of(name) == kind


def test_what_a_collective_still_holds_is_its_own_until_it_is_freed():
    """100 bytes stay hidden behind the first one, and half of them are gone after two operators;
    what another operator hides is nobody's.
    """
    operators = [
        "c10d.allreduce_.default",
        "aten.add.Tensor",
        "aten.mul.Tensor",
        "aten.sum.default",
    ]
    assert held_on(operators, [8, 108, 108, 58]) == [0, 100, 100, 50]
    assert held_on(operators[1:], [8, 108, 108]) == [0, 0, 0]


def test_other_threads_may_come_into_a_marker():
    """They free and take while the marker is there; both are counted, the marker is not."""
    plain = CpuEvents(deltas=[MARK, -MARK, 50, MARK, -MARK, -50])
    assert plain.replay() == [(0, 0), (0, 50), (50, 50)]
    mixed = CpuEvents(deltas=[MARK, -MARK, 50, MARK, 30, -50, -MARK])
    assert mixed.replay() == [(0, 0), (0, 50), (50, 80)]
    alone = CpuEvents(deltas=[MARK])  # a tensor of that size that stays
    assert alone.replay() == [(0, MARK)]


def test_a_storage_that_shrinks_and_grows_is_two():
    """FSDP's way of freeing what it has gathered."""
    log = AllocationLog(CPU, markers=False)
    tensor = torch.ones(25)
    with log:
        log.own("policy_weights", [tensor])
        tensor.untyped_storage().resize_(0)
        kept = torch.ones(1)
        tensor.untyped_storage().resize_(400)
    found = [(storage.owner, storage.nbytes, storage.died) for storage in log.storages]
    assert found == [
        ("policy_weights", 100, 0), ("gathered_weights", 0, 1), (None, kept.nbytes, None),
        ("gathered_weights", 400, None),
    ]  # fmt: skip


def test_time_is_exposed_where_nothing_else_is_done():
    assert uncovered_s((1.0, 5.0), []) == 4.0
    assert uncovered_s((1.0, 5.0), [(0.0, 2.0), (1.5, 3.0), (4.0, 9.0)]) == 1.0
    assert uncovered_s((1.0, 5.0), [(0.0, 9.0)]) == 0.0
    assert uncovered_s((1.0, 5.0), [(6.0, 9.0)]) == 4.0


def test_devices_whose_collectives_are_kernels_have_no_seconds():
    def never():
        raise AssertionError("no step is profiled")

    assert collective_times(never, torch.device("cuda")) == {}
