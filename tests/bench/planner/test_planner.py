"""Plans against the CPU allocator's events, and what must not differ between plan and step."""

import json
import subprocess
import sys
from itertools import combinations, product
from pathlib import Path

import covering
import plans as check
import pytest
import torch
from crossed import thinned
from saved_checkpoints import CONFIGS, headers_of
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from wide_teachers import save_wide

from alignmeter.architectures.checkpoint import find_checkpoint
from alignmeter.architectures.tracing import is_tracing
from alignmeter.cells.axes import AXES
from alignmeter.peft.nf4 import quantisation_tensors, quantise
from alignmeter.planner import predict, trace
from alignmeter.planner.fake_tensors import without_data
from alignmeter.planner.workspace import cpu_workspace, gpu_workspace
from alignmeter.registry import ARCHITECTURES, METHODS, PEFT_MODES, VARIANTS
from alignmeter.training import rollout
from alignmeter.worker.memory.allocations import AllocationLog
from alignmeter.worker.memory.cpu_events import record_events
from alignmeter.worker.workload import Workload
from alignmeter_kernels.nf4_linear import portable

CELLS = (
    {"method": "sft", "kernels": "custom", "seq_len": 40},
    {"method": "rm", "architecture": "mamba2", "peft": "qlora"},
    {"method": "dpo", "architecture": "mamba", "peft": "lora", "kernels": "custom",
     "checkpointing": "on"},
    {"method": "dpo", "architecture": "mamba"},
    {"method": "dpo", "peft": "qlora", "kernels": "custom", "precision": "bf16-base",
     "ref": "precomputed"},
    {"method": "ppo", "architecture": "mamba", "peft": "qlora", "kernels": "custom"},
    {"method": "kto", "kernels": "custom"},
    {"method": "simpo", "architecture": "mamba", "peft": "lora"},
    {"method": "orpo", "architecture": "mamba2", "kernels": "custom"},
    {"method": "grpo", "kl": "k3", "group": 4, "checkpointing": "on"},
    {"method": "rloo", "peft": "lora", "reward": "length"},
    {"method": "distill", "kernels": "custom"},
    {"method": "distill", "architecture": "mamba2", "peft": "lora"},
    {"method": "dpo", "peft": "qlora", "kernels": "custom", "lora_targets": "mlp",
     "lora_dropout": "0.1"},
)  # fmt: skip
"""Every method, architecture, PEFT mode and both kernels."""
HYBRIDS = {("dpo", "full", "stock"), ("dpo", "qlora", "custom")}
"""Those of a model with layers of two kinds that take part every time."""
EXACT = (
    "policy_weights", "ref_weights", "reward_weights", "value_weights", "teacher_weights",
    "adapters", "quantisation_state", "optimizer_state", "rollout_cache", "batch",
)  # fmt: skip


SLOW = [
    {"method": "sft", "peft": "lora", "lora_targets": "qv"},
    {
        "method": "ppo",
        "peft": "lora",
        "ppo_topology": "shared",
        "lora_dropout": "0.05",
        "checkpointing": "on",
    },
    {"method": "ppo", "peft": "lora", "ppo_topology": "shared", "ppo_backward": "joint"},
    {"method": "ppo", "architecture": "mamba2", "kernels": "custom", "ppo_minibatches": 2},
    {"method": "rloo", "architecture": "mamba", "peft": "lora", "reward": "length"},
]


@pytest.mark.full
@pytest.mark.parametrize(
    "axes",
    [
        *thinned(CELLS, every=3),
        *(pytest.param(axes, marks=pytest.mark.exhaustive) for axes in SLOW),
    ],
    ids=lambda axes: "-".join(map(str, axes.values())),
)
def test_a_plan_is_within_one_per_cent_of_the_allocators_peak(axes, make_cell, launcher):
    cell = make_cell(**axes)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.peak_phase == measured.phase
    assert sum(plan.ledger.values()) == plan.peak_bytes
    assert plan.ledger["unattributed_bytes"] == 0
    for owner in EXACT:
        assert plan.ledger[f"{owner}_bytes"] == measured.ledger[f"{owner}_bytes"], owner
    assert plan.phases == pytest.approx(measured.phase_peaks, rel=0.02)


@pytest.mark.full
@pytest.mark.parametrize(
    ("method", "peft", "kernels"),
    [
        pytest.param(*row, marks=() if row in HYBRIDS else pytest.mark.exhaustive)
        for row in product(("dpo", "ppo"), PEFT_MODES, ("stock", "custom"))
    ],
)
def test_a_plan_knows_layers_of_both_kinds(method, peft, kernels, make_cell, launcher):
    cell = make_cell(architecture="hybrid", method=method, peft=peft, kernels=kernels, seq_len=40)
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.peak_phase == measured.phase
    assert plan.ledger["unattributed_bytes"] == 0
    for owner in EXACT:
        assert plan.ledger[f"{owner}_bytes"] == measured.ledger[f"{owner}_bytes"], owner


@pytest.mark.full
@pytest.mark.parametrize(
    ("architecture", "peft"),
    [
        pytest.param(*row, marks=() if row == ("llama", "full") else pytest.mark.exhaustive)
        for row in product(ARCHITECTURES, PEFT_MODES)
    ],
)
def test_a_plan_knows_a_teacher_twice_as_wide(architecture, peft, tmp_path, make_cell, launcher):
    """Its weights are those of its file, packed where the mode packs a frozen model."""
    axes = {"method": "distill", "architecture": architecture, "peft": peft, "kernels": "custom"}
    cell = make_cell(**axes, teacher=str(save_wide(tmp_path / "wide", architecture)))
    plan, measured = predict(cell), check.measure(cell, launcher)
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    assert plan.peak_phase == measured.phase
    for owner in EXACT:
        assert plan.ledger[f"{owner}_bytes"] == measured.ledger[f"{owner}_bytes"], owner
    same = predict(make_cell(**axes))
    for owner in EXACT:
        if owner == "quantisation_state":  # of packed weights, the teacher's among them
            more = plan.ledger[f"{owner}_bytes"] > same.ledger[f"{owner}_bytes"]
            assert more == (peft == "qlora")
        elif owner != "teacher_weights":
            assert plan.ledger[f"{owner}_bytes"] == same.ledger[f"{owner}_bytes"], owner
    if peft != "qlora":
        parameters = find_checkpoint(cell.teacher).parameters
        assert plan.ledger["teacher_weights_bytes"] == pytest.approx(4 * parameters, rel=1e-3)


@pytest.mark.full
def test_a_plan_calls_no_reward_of_a_users(tmp_path, make_cell, launcher):
    """The rewards' values are nothing to it, and their bytes are those of any other function."""
    called = tmp_path / "called"
    (tmp_path / "r.py").write_text(
        f"def score(completions, **kwargs):\n    open({str(called)!r}, 'w').close()\n"
        "    return [0.5 * i for i, _ in enumerate(completions)]\n"
    )
    cell = make_cell(method="grpo", reward=f"{tmp_path}/r.py:score", kernels="custom")
    plan = predict(cell)
    assert not called.exists()
    measured = check.measure(cell, launcher)
    assert called.exists()
    assert plan.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.01)
    length = predict(make_cell(method="grpo", reward="length", kernels="custom"))
    assert plan.peak_bytes == length.peak_bytes
    assert plan.ledger == length.ledger


@pytest.mark.parametrize(("accelerator", "mask"), [("cpu", 2), ("cuda", 1)])
def test_a_dropped_value_costs_itself_and_its_mask(accelerator, mask):
    """Of 1000 bf16 values: a CPU keeps a factor for each of their dtype, a GPU a byte."""
    with without_data(accelerator):
        log = AllocationLog(torch.device("cpu"), markers=False)
        x = torch.empty(1000, dtype=torch.bfloat16, requires_grad=True)
        with log:
            kept = nn.Dropout(0.1)(x)
        assert log.live_bytes() == 1000 * (2 + mask)
        assert kept.grad_fn is not None


@pytest.mark.full
def test_the_same_cell_has_the_same_plan(make_cell):
    cell = make_cell(method="ppo", architecture="mamba2", peft="qlora")
    assert predict(cell) == predict(cell)


@pytest.mark.exhaustive  # half a minute of choosing
def test_the_covering_set_covers_and_is_the_same_every_time():
    """Counted again with a definition of its own."""
    chosen = covering.covering_cells()
    assert chosen == covering.covering_cells.__wrapped__()
    possible = covering.possible_cells().values()
    layout = tuple(dict.fromkeys(axis for row in METHODS.values() for axis in row.layout))

    def models(cells):
        return {(c.method, c.architecture, c.peft) for c in cells}

    assert models(chosen) == set(product(METHODS, ARCHITECTURES, PEFT_MODES))
    assert len(chosen) <= 2 * len(models(chosen))
    names = (
        "method", *layout, "architecture", "peft", "seq_len", "batch", "batching",
        "checkpointing", "kernels", "precision", "ref",
    )  # fmt: skip

    def value(cell, name):
        """All functions are one reward: they take turns."""
        found = getattr(cell, name)
        return "function" if name == "reward" and found != "model" else found

    def pairs(cells):
        return {pair for c in cells for pair in combinations([(n, value(c, n)) for n in names], 2)}

    assert pairs(chosen) == pairs(possible)
    for method, row in METHODS.items():
        for axis in {"rollout", "reward", *VARIANTS} & set(row.axes):
            untried = {"compiled", "vllm"} if axis == "rollout" else set()
            values = {getattr(c, axis) for c in chosen if c.method == method}
            assert values == set(AXES[axis].choices) - untried, (method, axis)
    for axis, turns in covering._TURNS.items():
        assert {getattr(cell, axis) for cell in chosen} >= set(turns), axis


@pytest.mark.exhaustive
def test_checkpoints_of_every_kind_take_part(tmp_path):
    """In every architecture and PEFT mode, and each kind tied and untied, whole and in shards, in
    both dtypes.
    """
    cells = covering.checkpoint_cells(tmp_path)
    random = covering.covering_cells()
    assert [c.without("size", "model") for c in cells] == [
        c.without("size", "model") for c in random
    ]
    seen = set()
    for folder in {Path(c.model) for c in cells}:
        config = json.loads((folder / "config.json").read_text())
        files = sorted(folder.glob("*.safetensors"))
        dtype, _ = next(iter(headers_of(files[0]).values()))
        kind = config["model_type"], config.get("attention_bias", False)
        seen.add((kind, config["tie_word_embeddings"], len(files) > 1, dtype))
    kinds = {(make().model_type, "biased" in kind) for kind, make in CONFIGS.items()}
    for at, values in enumerate(((True, False), (True, False), ("F32", "BF16")), 1):
        assert {(found[0], found[at]) for found in seen} == set(product(kinds, values))


@pytest.mark.full
def test_the_table_of_errors_names_worst_and_median(make_cell, launcher):
    rows = list(check.check([make_cell(method="sft"), make_cell(method="rm")], launcher))
    lines = list(check.table(rows))
    worst_first = sorted(rows, key=lambda row: -abs(row.error_percent))
    named = zip(worst_first, lines[2:4], strict=True)
    assert all(row.predicted.cell.id in line for row, line in named)
    assert [line.split(" | ")[:3] for line in lines[7:9]] == [
        [f"| {method}", "random", "1"] for method in ("sft", "rm")
    ]
    assert lines[-1].startswith("2 cells, 0 beyond 1 %; worst 0.")


def test_nf4_has_its_exact_storage():
    """n weights: n/2 bytes and a byte per 64; a float per 256 of those; tables of 256 and 16, 1."""
    linear = nn.Linear(200, 320, bias=False)
    count = 200 * 320
    by_hand = count // 2 + count // 64 + 4 * (-(-count // 64 // 256) + 256 + 16 + 1)
    planned, real = nn.Sequential(linear), nn.Sequential(linear)
    with without_data("cpu"):
        quantise(planned, skip=(), compute=torch.float32, kernels="custom")
    quantise(real, skip=(), compute=torch.float32, kernels="custom").to("cpu")
    for layer in (planned, real):
        tensors = [*layer.parameters(), *quantisation_tensors(layer)]
        assert sum(tensor.nbytes for tensor in tensors) == by_hand


@pytest.mark.full
@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=() if name == "llama" else pytest.mark.exhaustive)
        for name in ARCHITECTURES
    ],
)
def test_the_first_and_the_last_token_stand_for_all(architecture, make_cell, monkeypatch):
    """The same peaks and the same largest cache as when every token is traced."""
    cell = make_cell(method="ppo", architecture=architecture, seq_len=24, prompt_len=8, batch=3)
    short, of_short = _plan_and_cache_bytes(cell, monkeypatch)
    monkeypatch.setattr(rollout, "is_tracing", lambda: False)
    full, of_full = _plan_and_cache_bytes(cell, monkeypatch)
    assert short == full
    assert of_short == of_full > 0


def _plan_and_cache_bytes(cell, monkeypatch):
    """The plan, and the most bytes that live tensors of the rollout's cache had."""
    logs = []

    class Kept(trace.PlanLog):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            logs.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(trace, "PlanLog", Kept)
        plan = predict(cell)
    (log,) = logs
    log.storages = [s for s in log.storages if s.owner == "rollout_cache"]
    return plan, max(log.live_curve())


def test_tracing_ends_with_its_context():
    assert not is_tracing()
    with pytest.raises(KeyError), without_data("cpu"):
        assert is_tracing()
        raise KeyError
    assert not is_tracing()


@pytest.mark.full
def test_a_plan_leaves_the_process_as_it_was(make_cell):
    """A real step after it, in the same process, on kernels that keep tables."""
    cell = make_cell(peft="qlora", kernels="custom", checkpointing="on")
    apply, state = nn.Module._apply, torch.get_rng_state
    predict(cell)
    assert nn.Module._apply is apply
    assert torch.get_rng_state is state
    assert not isinstance(portable._pairs(torch.device("cpu")), FakeTensor)
    load = Workload(cell, 0)
    load.build()
    assert load.step().loss == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.full
def test_a_plan_asks_the_allocator_for_nothing(make_cell):
    """Fake tensors have no storage: 129 M fp32 weights and their optimizer, in below 1 MiB."""
    cell = make_cell(size="130m", method="sft", kernels="custom", seq_len=64)
    with record_events() as events:
        plan = predict(cell)
    most = max(peak for _, peak in events.replay())
    assert most < 2**20
    assert plan.peak_bytes > 4 * 4 * 128e6


@pytest.mark.exhaustive
def test_an_8b_plan_stays_below_4_gib_of_host_memory():
    code = (
        "import resource; from alignmeter.planner import predict; "
        "from alignmeter.session.resolve import resolve_cell; "
        "axes = dict(method='dpo', size='8b', peft='lora', accelerator='cuda', seq_len=1024, "
        "data='synthetic', checkpointing='on', batch=1); "
        "peak = predict(resolve_cell(axes).cell).peak_bytes; "
        "print(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    peak, resident = map(int, done.stdout.split())
    assert 15 * 2**30 < peak < 20 * 2**30
    assert resident < 4 * 2**30


HALF = torch.randn(64, 32).bfloat16()
WIDE = torch.randn(64, 32)
ROW = torch.randn(64, 1)
MASK = WIDE > 0
aten = torch.ops.aten


@pytest.mark.parametrize(
    ("operator", "arguments", "keywords"),
    [
        (aten.add.Tensor, (HALF, WIDE), {}),
        (aten.add.Tensor, (WIDE, WIDE), {}),
        (aten.mul.Tensor, (HALF, ROW), {}),
        (aten.mul.Tensor, (WIDE, MASK), {}),
        (aten.mul.Tensor, (HALF, 2.0), {}),
        (aten.add_.Tensor, (HALF.clone(), WIDE), {}),
        (aten.add_.Tensor, (WIDE.clone(), HALF), {}),
        (aten.where.self, (MASK, WIDE, HALF), {}),
        (aten.masked_fill.Scalar, (WIDE, MASK, 0.0), {}),
        (aten.addcmul.default, (WIDE, HALF, HALF), {}),
        (aten.sum.dim_IntList, (HALF, [0]), {"dtype": torch.float32}),
        (aten.sum.dim_IntList, (WIDE, [0]), {}),
        (aten.cumsum.default, (WIDE, 0), {"dtype": torch.float64}),
        (aten.silu.default, (HALF,), {}),
        (aten.mm.default, (WIDE, WIDE.mT), {}),
    ],
    ids=lambda value: str(value) if isinstance(value, torch._ops.OpOverload) else None,
)
def test_what_an_operator_casts_inside_itself_is_known(operator, arguments, keywords):
    """Against the allocator, to the byte (a Python number becomes a tensor of up to 8 bytes)."""
    operator(*arguments, **keywords)
    with record_events() as events:
        found = operator(*arguments, **keywords)
    made = 0 if found is arguments[0] else found.nbytes
    inside = max(peak for _, peak in events.replay()) - made
    assert inside == pytest.approx(cpu_workspace(operator, arguments, keywords), abs=16)


BF16_PRODUCTS = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bf16 on this CPU"
)


@BF16_PRODUCTS
@pytest.mark.skipif(
    torch.cpu._is_amx_tile_supported(),
    reason="oneDNN takes other blocks with AMX; they were measured on a CPU with AVX512 only",
)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [
        (320, 51, 16),
        (192, 192, 64),
        (576, 256, 8),
        (335, 320, 512),
        (307, 100, 24),
        (36, 768, 18),
    ],
)
def test_the_blocks_of_a_bf16_product_are_known(rows, depth, columns, transposed):
    """One block of rows, equal ones, and for a prime number of rows uneven ones."""
    a = torch.randn(depth, rows).mT if transposed else torch.randn(rows, depth)
    a, b = a.bfloat16(), torch.randn(depth, columns).bfloat16()
    torch.mm(a, b)
    with record_events() as events:
        found = torch.mm(a, b)
    inside = max(peak for _, peak in events.replay()) - found.nbytes
    slack = 4096 * torch.get_num_threads()
    assert inside == pytest.approx(cpu_workspace(aten.mm.default, (a, b), {}), abs=slack)


@BF16_PRODUCTS
def test_a_bf16_product_copies_a_weight_that_stands_for_several():
    """2 x 512 x 192 in bf16, and oneDNN's blocks beside it."""
    states, weight = torch.randn(2, 32, 512).bfloat16(), torch.randn(512, 192).bfloat16()
    arguments = states, weight.expand(2, 512, 192)
    torch.bmm(*arguments)
    with record_events() as events:
        found = torch.bmm(*arguments)
    inside = max(peak for _, peak in events.replay()) - found.nbytes
    told = cpu_workspace(aten.bmm.default, arguments, {})
    assert told > 2 * 2 * 512 * 192
    assert told == pytest.approx(inside, rel=0.1)


@pytest.mark.parametrize("nested", [False, True])
def test_a_product_of_nf4_weights_unpacks_them_inside(nested):
    """384 x 256 weights in fp32; a scale in fp32 per 64 of them where scales are quantised too."""
    functional = pytest.importorskip(
        "bitsandbytes.functional", reason="pip install 'alignmeter[qlora]'"
    )
    if not hasattr(torch.ops.bitsandbytes, "gemm_4bit"):
        pytest.skip("this bitsandbytes has no gemm_4bit; 0.50.2 has")
    weight, states = torch.randn(384, 256), torch.randn(2, 8, 256)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, quant_type="nf4", compress_statistics=nested
    )
    extra = (None, None, None)
    if nested:
        extra = (state.absmax, state.state2.code, state.offset)
    scales = state.state2.absmax if nested else state.absmax
    arguments = (states, packed, state.shape, scales, 64, "nf4", None, *extra)
    operator = torch.ops.bitsandbytes.gemm_4bit.default
    operator(*arguments)
    with record_events() as events:
        found = operator(*arguments)
    inside = max(peak for _, peak in events.replay()) - found.nbytes
    told = cpu_workspace(operator, arguments, {})
    assert told == 4 * 384 * 256 + (4 * 384 * 256 // 64 if nested else 0)
    assert inside == pytest.approx(told, abs=16)
    # Both lives of the scales, as bitsandbytes' CUDA code holds them.
    told = gpu_workspace(operator, arguments, {})
    assert told == 4 * 384 * 256 + (2 * 4 * 384 * 256 // 64 if nested else 0)


def test_flash_attention_on_a_gpu_sums_in_fp32():
    """dq [2, 8, 64, 16] in fp32; with 2 heads of keys dk and dv of all 8 in bf16 as well."""
    operator = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    with FakeTensorMode():
        query = torch.empty(2, 8, 64, 16, dtype=torch.bfloat16)
        keys = torch.empty(2, 2, 64, 16, dtype=torch.bfloat16)
    size = 2 * 8 * 64 * 16
    assert gpu_workspace(operator, (query, query, query), {}) == 4 * size
    assert gpu_workspace(operator, (query, query, keys), {}) == 4 * size + 2 * 2 * size
    assert gpu_workspace(aten.mm.default, (query, query), {}) == 0
