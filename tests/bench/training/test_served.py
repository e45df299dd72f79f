"""An engine beside torch, played by a model of its own: phases, weights, log-probs, memory."""

import dataclasses

import pytest
import torch
from crossed import crossed

from alignmeter.architectures import open_architecture
from alignmeter.records.record import decode_record, encode_record
from alignmeter.registry import METHODS
from alignmeter.session.findings.assemble import assemble
from alignmeter.session.findings.found import Findings
from alignmeter.session.sampling import Sampling
from alignmeter.training.engines import vllm
from alignmeter.training.engines.base import RolloutEngine
from alignmeter.training.engines.served import ServedSampler
from alignmeter.worker.workload import Workload

AWAY = 0.25
"""By so many nats the server's log-probs are not the policy's."""
RESERVED, USED = 1 << 20, 4096


class Played:
    """A server in this process, which knows of the policy what it is given, and no more."""

    def __init__(self):
        self.model = self.started = None
        self.loads = 0

    def start(self, policy, *, rows, positions):
        self.started = rows, positions
        self.model = open_architecture("llama").build("tiny", seed=9, dtype=torch.float32).eval()

    def load(self, weights):
        own = dict(self.model.named_parameters())
        given = dict(weights)
        assert set(given) == set(own)
        for name, weight in given.items():
            own[name].copy_(weight)
        self.loads += 1

    def sample(self, prompts, *, new_tokens, seed):
        generator, ids, logprobs = torch.Generator().manual_seed(seed), prompts, []
        for _ in range(new_tokens):
            scores = self.model(input_ids=ids).logits[:, -1].log_softmax(-1)
            token = torch.multinomial(scores.exp(), 1, generator=generator)
            logprobs.append(scores.gather(1, token) - AWAY)
            ids = torch.cat([ids, token], 1)
        return ids[:, prompts.shape[1] :], torch.cat(logprobs, 1)

    def cache_bytes(self):
        return RESERVED, USED


@pytest.fixture
def server(monkeypatch):
    """The server behind ``rollout = vllm``."""
    played = Played()
    engine = RolloutEngine(
        name="vllm", open=lambda cell: ServedSampler(played, positions=cell.seq_len)
    )
    monkeypatch.setattr(vllm, "VLLM", engine)
    return played


@pytest.mark.full
@pytest.mark.parametrize(*crossed(method=["ppo", "grpo"], peft=["full", "lora"]))
def test_a_whole_step_on_tokens_of_a_server(method, peft, make_cell, server):
    """The log-prob gap is the nats that this server is off, since its weights are the policy's: in
    the second step those that the first has trained.
    """
    cell = make_cell(method=method, peft=peft, rollout="vllm")
    load = Workload(cell, 0)
    load.build()
    prepared = load.prepare()
    assert list(prepared) == ["engine_start"]
    assert server.started == (4, 16)
    reports = [load.step() for _ in range(3)]
    assert server.loads == 3
    for report in reports:
        assert list(report.phases)[:2] == ["weight_sync", "rollout"]
        assert report.logprob_gap == pytest.approx(AWAY, abs=1e-4)
        assert report.generated_tokens == 4 * 8
    profile = load.memory_step()
    assert dataclasses.astuple(profile.cache) == (RESERVED, USED)
    assert profile.ledger["rollout_cache_bytes"] == 0  # nothing of it is in torch's allocator here


def test_replayed_tokens_want_no_server(make_cell, server):
    cell = make_cell(method="grpo", rollout="vllm", reward="length")
    load = Workload(cell, 0)
    load.build()
    tokens = [[[5] * 8] * 4] * 2
    observed = load.agreement(tokens)
    assert (observed.rollouts, server.loads) == (tokens, 0)


def record_of(load, cell, **more):
    found = Findings(
        cell=cell, replicate=0, seed=0, sampling=Sampling(0.0), provenance=load.provenance(), **more
    )
    return assemble(found)


@pytest.mark.full
def test_the_record_has_what_a_rollout_took(make_cell, server):
    cell = make_cell(method="grpo", rollout="vllm", reward="length")
    load = Workload(cell, 0)
    load.build()
    prepared = load.prepare()
    steps = [load.step() for _ in range(3)]
    peaks = dataclasses.replace(load.peaks(), reserved_bytes=300, device_used_bytes=1000)
    record = record_of(
        load, cell, prepared=prepared, steps=steps, profile=load.memory_step(), peaks=peaks
    )
    rollout = record.rollout
    shares = sorted(report.phases["rollout"] / report.seconds for report in steps)
    assert rollout.step_share == shares[1]
    assert (rollout.cache_reserved_bytes, rollout.cache_used_bytes) == (RESERVED, USED)
    assert rollout.engine_bytes == 700
    assert rollout.logprob_gap == pytest.approx(AWAY, abs=1e-4)
    assert rollout.compile_s is None
    assert list(record.phases)[:3] == ["engine_start", "weight_sync", "rollout"]
    assert decode_record(encode_record(record), "here") == record


def test_compiling_is_a_figure_of_its_own_and_no_phase(make_cell):
    cell = make_cell(method="grpo", reward="length")
    load = Workload(cell, 0)
    record = record_of(load, cell, prepared={"compile": 7.0})
    assert record.rollout.compile_s == 7.0
    assert "compile" not in record.phases


@pytest.mark.parametrize("method", METHODS)
def test_only_methods_that_sample_have_a_rollout(method, make_cell):
    cell = make_cell(method=method)
    record = record_of(Workload(cell, 0), cell)
    assert (record.rollout is not None) == METHODS[method].rollouts
