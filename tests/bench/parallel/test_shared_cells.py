"""Which cells several devices can share, whose rows are whose, and what is said of the others."""

import dataclasses

import pytest
import torch

from alignmeter import accelerators
from alignmeter.accelerators.base import Device
from alignmeter.accelerators.device_query import Found
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.parallel import ALONE, Ranks
from alignmeter.registry import METHODS
from alignmeter.session.resolve import resolve_cell

CPU = torch.device("cpu")


def resolved(**axes):
    return resolve_cell({"accelerator": "cpu", "data": "synthetic", "seq_len": 16, **axes})


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"parallel": "none"}, "2 devices share no step with parallel = none; use ddp or fsdp2"),
        (
            {"batch": 3},
            "3 pairs of a step are no whole number for each of 2 devices; use a multiple of 2 as "
            "batch",
        ),
        (
            {"batch": 1},
            "1 pair of a step is no whole number for each of 2 devices; use a multiple of 2 as "
            "batch",
        ),
        (
            {"method": "sft", "rows": 5},
            "5 rows of a step are no whole number for each of 2 devices; use a multiple of 2 as "
            "rows",
        ),
        (
            {"method": "sft", "world_size": 3},
            "4 rows of a step are no whole number for each of 3 devices; use a multiple of 3 as "
            "batch",
        ),
        (
            {"microbatches": 3, "batch": 4},
            "3 microbatches want more than the 2 pairs of each device; use 2 or fewer",
        ),
        (
            {"method": "ppo", "ppo_minibatches": 2},
            "minibatches of each device's own rows would be others than one device's; use 1",
        ),
        (
            {"method": "grpo", "rollout": "compiled"},
            "rollout compiled samples with the weights of one device, not of 2; use eager or "
            "static",
        ),
        ({"optimizer": "muon"}, "muon steps whole weights, not shares of them; use adamw"),
    ],
)
def test_what_cannot_be_shared_is_one_sentence(axes, said):
    found = resolved(**{"world_size": 2, "parallel": "fsdp2", **axes})
    assert (found.unsupported.code, found.unsupported.text) == ("impossible", said)


def test_processes_share_a_cpu_however_many_they_are():
    assert resolved(world_size=64, batch=64, parallel="fsdp2").unsupported is None
    assert resolved(world_size=1, parallel="fsdp2").unsupported is None


@pytest.mark.parametrize(
    ("here", "collectives", "said"),
    [
        (1, "nccl", "the step needs 2 cuda devices, and this machine has 1"),
        (2, "nccl", None),
        (2, "", "torch.distributed has no backend for cuda devices here"),
    ],
)
def test_a_step_wants_as_many_devices_as_there_are(here, collectives, said, monkeypatch):
    device = Device(
        name="a GPU", memory_bytes=1, uuid=None, pci_bus_id=None, driver=None, runtime=None
    )
    monkeypatch.setattr(
        accelerators, "query", lambda _: Found(missing=None, devices=(device,) * here)
    )
    cuda = dataclasses.replace(accelerators.open_accelerator("cuda"), collectives=collectives)
    monkeypatch.setattr(accelerators, "open_accelerator", lambda _: cuda)
    found = resolved(accelerator="cuda", world_size=2, parallel="fsdp2", kernels="stock")
    assert (found.unsupported and found.unsupported.text) == said
    if said is not None:
        assert found.unsupported.code == "too_few_devices"
        assert found.contradiction is None


def test_a_step_wants_as_many_processes_as_its_cell_says():
    cell = resolved(world_size=2, parallel="ddp").cell
    with pytest.raises(ValueError, match="the process group has 1 ranks, the cell 2"):
        open_setup(cell, CPU, seed=0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("more", [{}, {"data": "lengths:hh", "batching": "padded", "seq_len": 48}])
def test_every_row_is_one_ranks_and_pairs_stay_together(method, more):
    cell, rows = resolved(method=method, batch=4, **more).cell, open_method(method).rows
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, rows)
    ranks = [Ranks(rank=number, size=2) for number in range(2)]
    places = ranks[0].places(batch, rows)
    assert sorted(places[0] + places[1]) == list(range(8))
    for rank, own in zip(ranks, places, strict=True):
        part = rank.part(batch, rows)
        assert len(part.ids) == len(own) == 4
        assert torch.equal(part.ids, batch.ids[own, : part.ids.shape[1]])
        if rows in ("pairs", "unpaired"):
            assert own[2:] == [place + 4 for place in own[:2]]
            assert part.pairs == tuple(batch.pairs[place] for place in own[:2])
        else:
            each = 8 // len(batch.pairs)
            assert part.pairs == tuple(dict.fromkeys(batch.pairs[p // each] for p in own))
    assert ALONE.part(batch, rows) is batch


def test_a_group_may_lie_on_two_ranks():
    cell = resolved(method="grpo", group=8, batch=4).cell
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "groups")
    parts = [Ranks(rank=number, size=2).part(batch, "groups") for number in range(2)]
    assert parts[0].pairs == parts[1].pairs == batch.pairs
    assert len(batch.pairs) == 1


def test_answers_that_are_no_pairs_are_shared_row_by_row():
    cell = resolved(method="kto", batch=4).cell
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "unpaired")
    desirable = torch.tensor([True, False, True, True, False, False, False, True])

    alone = dataclasses.replace(batch, desirable=desirable, pairs=tuple(range(8)))
    part = Ranks(rank=1, size=2).part(alone, "unpaired")
    assert part.desirable.tolist() == [False, False, False, True]
    assert part.pairs == (4, 5, 6, 7)
