"""Rollout engines: the same tokens, what their caches take, and when a compiler is at work."""

import math

import msgspec
import pytest
import torch
from crossed import crossed
from rollouts import recomputed

from alignmeter.batches import open_batches
from alignmeter.cells.settings import Settings
from alignmeter.errors import CellError
from alignmeter.methods import open_method, open_setup
from alignmeter.registry import ARCHITECTURES, PEFT_MODES, PRECISIONS, ROLLOUTS
from alignmeter.session.resolve import resolve_cell
from alignmeter.session.time_limit import time_limit_s
from alignmeter.training.engines import compiled, open_engine, static
from alignmeter.training.rollout import Asked
from alignmeter.training.step import SilentProbe
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.workload import Workload

CPU = torch.device("cpu")
ROUNDING = 1e-4
"""Relative: what two ways to compute a probability in fp32 are apart, at the most."""


@torch.no_grad()
def sampled(cell, policy, prompts, engine=None, rounds=1, new_tokens=None):
    """The tokens of ``rounds`` rollouts of one engine, each from the seed of its number."""
    sampler = open_engine(engine or cell.rollout).open(cell)
    sampler.prepare(policy, torch.zeros_like(prompts), SilentProbe())
    new_tokens = new_tokens or cell.seq_len - cell.prompt_len
    return [
        sampler.sample(policy, asked(prompts, new_tokens, number), SilentProbe()).ids
        for number in range(rounds)
    ]


def asked(prompts, new_tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Asked(prompts=prompts, new_tokens=new_tokens, generator=generator)


@torch.no_grad()
def near_tie(policy, ids, prompt_len, row, seed):
    """Whether the first token that differs in ``row`` was drawn by less than rounding.

    torch's CPU draws the token whose ``p / q`` is the largest, q exponential (`multinomial_out`,
    aten/src/ATen/native/Distributions.cpp): the same generator gives the same q, whatever the
    probabilities are. ``ids``: of both engines, [2, R, T].
    """
    at = int((ids[0, row] != ids[1, row]).nonzero()[0])
    generator = torch.Generator().manual_seed(seed)
    vocabulary = policy.config.vocab_size
    for _ in range(at - prompt_len + 1):
        q = torch.empty(len(ids[0]), vocabulary).exponential_(1, generator=generator)
    probabilities = policy.eval()(input_ids=ids[:1, row, :at]).logits[0, -1].float().softmax(-1)
    first, second = (probabilities / q[row]).topk(2).values.tolist()
    return first - second <= ROUNDING * first


def same_but_for_ties(policy, one, other, prompt_len):
    """Whether two engines drew the same, rows from their first near tie on apart."""
    for seed, (left, right) in enumerate(zip(one, other, strict=True)):
        apart = (left != right).any(1).nonzero().flatten().tolist()
        both = torch.stack([left, right])
        if not all(near_tie(policy, both, prompt_len, row, seed) for row in apart):
            return False
    return True


def policy_and_prompts(cell):
    setup = open_setup(cell, CPU, seed=0)
    generator = torch.Generator().manual_seed(7)
    prompts = torch.randint(3, 512, (2 * cell.batch, cell.prompt_len), generator=generator)
    return setup.policy(), prompts


@pytest.mark.parametrize(*crossed(architecture=ARCHITECTURES, peft=["full", "lora"]))
def test_a_cache_of_fixed_size_gives_the_same_tokens(architecture, peft, make_cell):
    cell = make_cell(method="grpo", architecture=architecture, peft=peft, seq_len=32, batch=3)
    policy, prompts = policy_and_prompts(cell)
    eager, fixed = (sampled(cell, policy, prompts, name, 3) for name in ("eager", "static"))
    assert same_but_for_ties(policy, eager, fixed, cell.prompt_len)
    assert policy.training


@pytest.mark.full
@pytest.mark.parametrize(*crossed(
    architecture=ARCHITECTURES, peft=PEFT_MODES, precision=PRECISIONS,
    engine=["static", "compiled"], kernels=["stock", "custom"],
))  # fmt: skip
def test_whole_steps_run_in_every_precision(
    architecture, peft, precision, engine, kernels, make_cell, traced_only
):
    """Under autocast a layer's keys come in another dtype than its values."""
    cell = make_cell(
        method="grpo", reward="length", rollout=engine, architecture=architecture, peft=peft,
        precision=precision, kernels=kernels,
    )  # fmt: skip
    load = Workload(cell, 0)
    load.build()
    load.prepare()
    assert math.isfinite(load.step().loss)


@pytest.mark.full
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_under_autocast_a_cache_of_fixed_size_starts_alike(architecture, make_cell):
    """bf16 decides between near tokens otherwise, but rarely: most rows stay the same."""
    cell = make_cell(
        method="grpo", architecture=architecture, seq_len=24, batch=8, precision="bf16-mixed"
    )
    policy, prompts = policy_and_prompts(cell)
    with torch.autocast("cpu", torch.bfloat16):
        eager, fixed = (sampled(cell, policy, prompts, name)[0] for name in ("eager", "static"))
    first = cell.prompt_len
    assert (eager[:, first] == fixed[:, first]).all()
    assert (eager == fixed).all(1).float().mean() >= 0.5


def test_a_token_too_far_back_is_no_near_tie(make_cell, monkeypatch):
    """What the comparison above is worth: attention that misses its newest token is found."""
    cell = make_cell(method="grpo", seq_len=32, batch=3)
    policy, prompts = policy_and_prompts(cell)
    eager = sampled(cell, policy, prompts, "eager", 3)
    right = static.StaticSampler._decoded

    def late(self, policy, token, given, position, probe):
        return right(self, policy, token, given, position - 1, probe)

    monkeypatch.setattr(static.StaticSampler, "_decoded", late)
    wrong = sampled(cell, policy, prompts, "static", 3)
    assert not same_but_for_ties(policy, eager, wrong, cell.prompt_len)


@pytest.mark.full
@pytest.mark.parametrize("architecture", ["llama", "mamba"])
def test_a_compiled_step_gives_the_same_tokens(architecture, make_cell, traced_only):
    cell = make_cell(method="grpo", architecture=architecture, batch=2)
    policy, prompts = policy_and_prompts(cell)
    eager, made = (sampled(cell, policy, prompts, name, 2) for name in ("eager", "compiled"))
    assert same_but_for_ties(policy, eager, made, cell.prompt_len)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated")  # Inductor's own
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_the_compiler_makes_gives_the_same_tokens(architecture, make_cell):
    cell = make_cell(method="grpo", architecture=architecture, seq_len=64)
    policy, prompts = policy_and_prompts(cell)
    eager, made = (sampled(cell, policy, prompts, name, 3) for name in ("eager", "compiled"))
    assert same_but_for_ties(policy, eager, made, cell.prompt_len)
    torch.compiler.reset()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_benchmarks_rollout_without_a_cache_draws_the_same(architecture, make_cell):
    """What `rollouts.py` holds the cache against."""
    cell = make_cell(method="grpo", architecture=architecture)
    policy, prompts = policy_and_prompts(cell)
    with torch.no_grad():
        whole = recomputed(policy, prompts, 8)
    assert same_but_for_ties(policy, sampled(cell, policy, prompts, "eager"), [whole], 8)


@pytest.mark.full
def test_no_step_compiles_again(make_cell, traced_only):
    """What was not compiled is an error, not seconds inside a timed step: here with gradients."""
    cell = make_cell(method="grpo")
    policy, prompts = policy_and_prompts(cell)
    sampler = open_engine("compiled").open(cell)
    with torch.no_grad():
        sampler.prepare(policy, prompts, SilentProbe())
        with torch.enable_grad(), pytest.raises(RuntimeError, match="fail_on_recompile"):
            sampler.sample(policy, asked(prompts, 4), SilentProbe())


@pytest.mark.full
@pytest.mark.parametrize("tokens", [1, 2])
def test_short_responses_compile_too(tokens, make_cell, traced_only):
    cell = make_cell(method="grpo", seq_len=8 + tokens, prompt_len=8)
    policy, prompts = policy_and_prompts(cell)
    (ids,) = sampled(cell, policy, prompts, "compiled")
    assert ids.shape == (4, 8 + tokens)
    assert torch.equal(ids[:, :8], prompts)


class Clocked(SilentProbe):
    """Remembers phases, and what was told of the cache."""

    def __init__(self):
        self.heard, self.owned, self.used = [], set(), []

    def phase(self, name):
        self.heard.append(name)
        return super().phase(name)

    def owns(self, owner, tensors):
        self.owned |= {(owner, tensor.data_ptr()) for tensor in tensors}

    def uses(self, owner, nbytes, *, beside=0):
        self.used.append((owner, sum(nbytes), beside))


@pytest.mark.full
def test_a_compiled_engine_keeps_its_cache_and_the_others_none(make_cell, traced_only):
    for engine, kept in (("eager", False), ("static", False), ("compiled", True)):
        cell = make_cell(method="grpo", rollout=engine, reward="length")
        step = open_method("grpo").build(open_setup(cell, CPU, seed=0))
        source, probe = open_batches(cell, vocab_size=512, seed=0), Clocked()
        step.prepare(source, probe)
        assert probe.heard == (["compile"] if kept else [])
        step.run(source.take(0, CPU, "groups"), probe)
        held = {("rollout_cache", t.data_ptr()) for t in step.held()["rollout_cache"]}
        assert bool(held) == kept
        step.run(source.take(1, CPU, "groups"), probe)
        assert {name for name, _ in probe.owned} >= {"rollout_cache"}
        if kept:
            assert held == {pair for pair in probe.owned if pair[0] == "rollout_cache"}


@pytest.mark.parametrize("seq_len", [16, 21])
def test_what_a_cache_reserves_and_uses(seq_len, make_cell):
    """llama tiny has 3 layers of keys and values, 192 wide, fp32, here for 4 rows: 18432 bytes a
    token. The last token is never read; rows of a mask are multiples of 8; each layer counts its
    tokens in 8 bytes. A cache that grows has what it uses.
    """
    per_token = 3 * 2 * 4 * 192 * 4
    for engine, positions, counters in (
        ("eager", seq_len - 1, 0),
        ("static", -(-(seq_len - 1) // 8) * 8, 3 * 8),
    ):
        cell = make_cell(method="grpo", seq_len=seq_len, rollout=engine)
        policy, prompts = policy_and_prompts(cell)
        sampler, log = open_engine(engine).open(cell), AllocationLog(CPU, markers=False)
        with torch.no_grad(), log:
            sampler.sample(policy, asked(prompts, seq_len - cell.prompt_len), log)
        assert log.used["rollout_cache"] == (seq_len - 1) * per_token + counters
        assert max(log.live_curve("rollout_cache")) == positions * per_token + counters


def test_a_window_shorter_than_the_sequence_is_refused(make_cell):
    """A window's cache of fixed size turns round, which the mask here does not know."""
    cell = make_cell(method="grpo", seq_len=32, rollout="static")
    policy, prompts = policy_and_prompts(cell)
    policy.config.sliding_window = 16
    policy.config.layer_types = ["sliding_attention"] * policy.config.num_hidden_layers
    with pytest.raises(CellError, match=r"last 16 tokens of 32.*rollout = eager"):
        sampled(cell, policy, prompts)


def test_engines_that_cannot_run_say_why(monkeypatch):
    base = {"method": "ppo", "accelerator": "cpu", "data": "synthetic"}
    served = resolve_cell({**base, "rollout": "vllm"}).unsupported
    assert served is not None
    assert served.code == "library_missing"
    assert "environment of its own" in served.text
    with pytest.raises(CellError, match="environment of its own"):
        open_engine("vllm").open(resolve_cell(base).cell)
    monkeypatch.setenv("CXX", "no-such-compiler")
    bare = resolve_cell({**base, "rollout": "compiled"}).unsupported
    assert bare is not None
    assert (bare.code, "no-such-compiler" in bare.text) == ("library_missing", True)
    masked = resolve_cell({**base, "rollout": "static", "kernels": "vendor"}).unsupported
    assert masked is not None
    assert (masked.code, "flash-attn" in masked.text) == ("impossible", True)


def test_methods_that_sample_nothing_know_no_engine():
    planned = resolve_cell({"method": "dpo", "accelerator": "cpu", "rollout": "vllm"})
    assert (planned.cell.rollout, planned.unsupported) == ("eager", None)


@pytest.mark.parametrize("name", ROLLOUTS)
def test_every_row_loads_and_knows_its_name(name):
    assert open_engine(name).name == name


def test_ids_of_before_the_axis_stay(make_cell):
    assert "rollout" not in make_cell(method="ppo").id
    assert "rollout-static" in make_cell(method="ppo", rollout="static").id


def test_compiling_has_its_time(make_cell):
    """20 s for each of the three blocks of a tiny llama; other methods and engines have none."""
    limits = [
        time_limit_s(make_cell(method=method, rollout=engine), Settings())
        for method, engine in (("grpo", "static"), ("grpo", "compiled"), ("dpo", "compiled"))
    ]
    assert limits == [600, 660, 600]


def test_graphs_are_for_devices_that_record_them(make_cell):
    cell = make_cell(method="ppo")
    for accelerator, graphs in (("cpu", False), ("xpu", False), ("cuda", True), ("rocm", True)):
        there = msgspec.structs.replace(cell, accelerator=accelerator)
        assert compiled.CompiledSampler(there)._graphs is graphs
