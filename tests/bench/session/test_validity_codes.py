"""Every reason code that spoils a metric: inputs that bring it about, and like ones that do not."""

import ast
import math
from pathlib import Path

import msgspec
import pytest

import alignmeter
from alignmeter.errors import CellError
from alignmeter.records.reasons import REASONS, Code
from alignmeter.records.record import OWNERS, Energy, Numerics, Reason, Signal
from alignmeter.records.reference import Reference
from alignmeter.session.findings.disturbances import Timed
from alignmeter.session.findings.validity import judge
from alignmeter.session.sampling import Readings
from alignmeter.telemetry.base import THROTTLES, Sample
from alignmeter.worker.messages import EnergyWindow, MemoryProfile, Observed, StepSpans

LN2 = math.log(2)
MIB = 2**20
FLAT = [0.1] * 5


def profile(unattributed=0):
    ledger = dict.fromkeys((f"{owner}_bytes" for owner in OWNERS), 0)
    ledger |= {"activations_bytes": 1000 - unattributed, "unattributed_bytes": unattributed}
    return MemoryProfile(peak_bytes=1000, phase=None, operator=None, phase_peaks={}, ledger=ledger)


def observed(first=LN2, silent=(), equal=False):
    return Observed(
        signals={"loss": [first]}, rollouts=[], silent_adapters=list(silent), answers_equal=equal
    )


def timed(step_s=FLAT, **noted):
    return Timed(step_s=step_s, **noted)


def sampled(count=10, every_s=0.1, **figures):
    return Readings([Sample(monotonic_s=every_s * k, **figures) for k in range(count)])


def held(used_mib, worker_mib):
    own = None if worker_mib is None else worker_mib * MIB
    return sampled(memory_used_bytes=used_mib * MIB, memory_process_bytes=own)


class Sampled:
    """A sampler that has these readings, whatever the window."""

    def __init__(self, readings):
        self.readings = readings

    def during(self, steps):
        return self.readings


ZEROS = Reason(code="weights_zero", text="lm_head.weight all zeros in ck")
HUGE = Reason(code="weights_huge", text="lm_head.weight beyond 65504 in ck")
WINDOW = EnergyWindow(steps=[StepSpans(start_s=0.0, end_s=9.0, phases=[])])


def counted(polled_j):
    return Energy(source="counter", per_step_j=100.0, polled_per_step_j=polled_j)


def signal(*measured):
    return Signal(name="loss", measured=list(measured), reference=[1.0] * len(measured), band=0.1)


CLEAN = {
    "numerics": Numerics(losses=[LN2, 0.6, 0.5]), "observed": observed(), "timed": timed(),
    "profile": profile(), "memory_kind": "cpu tensor storage", "energy": Energy(source="none"),
}  # fmt: skip
VRAM = {"memory_kind": "vram"}


def verdicts(cell, **changes):
    found = judge(**{"cell": cell, **CLEAN, **changes})
    assert set(found) == {"time", "memory", "energy", "numerics"}
    return {m: [r.code for r in v.reasons] for m, v in found.items() if not v.ok}


SPOILED = [
    ("too_few_steps", "time", {"timed": timed(FLAT[:2])}),
    ("host_loaded", "time", {"timed": timed(others_share=0.11)}),
    ("swap_used", "time", {"timed": timed(swapped_bytes=[0, 0, 4096, 4096])}),
    ("swap_used", "time", {"timed": timed(swapped_bytes=[8192, 8192, 4096])}),
    ("warmup_unsettled", "time", {"timed": timed([1.5, 1.4, 1.3, 1.2, 1.1], warmup_s=[2, 1.7])}),
    ("warmup_unsettled", "time", {"timed": timed(FLAT, warmup_s=[1.0, 0.9])}),
    ("throttled", "time", VRAM | {"timed": timed(readings=sampled(throttles=("thermal",)))}),
    ("other_processes", "time", VRAM | {"timed": timed(readings=held(1400, 1000))}),
    # A container's NVML lists no process of its PID namespace; used memory still says it.
    ("other_processes", "time", VRAM | {
        "timed": timed(readings=held(6000, None), reserved_bytes=2000 * MIB)
    }),
    ("other_processes", "time", VRAM | {
        "timed": timed(device_used_bytes=6000 * MIB, reserved_bytes=2000 * MIB)
    }),
    ("not_measured", "memory", {"profile": None}),
    ("ledger_gap", "memory", {"profile": profile(11)}),
    ("ledger_gap", "memory", VRAM | {"profile": profile(31)}),
    ("energy_disagrees", "energy", {"energy": counted(111.0)}),
    ("sampler_gap", "energy", {
        "energy": Energy(source="polled", polled_per_step_j=1.0), "window": WINDOW,
        "sampling": Sampled(sampled(every_s=0.25)),  # over a tenth of 2.4 s
    }),
    ("throttled", "energy", {
        "window": WINDOW, "sampling": Sampled(sampled(throttles=("idle", "power_brake"))),
    }),
    ("energy_unavailable", "energy", {
        "energy": Energy(source="none", reason=Reason(code="energy_unavailable", text="")),
    }),
    ("non_finite_loss", "numerics", {"numerics": Numerics(losses=[0.7, None])}),
    ("first_loss", "numerics", {"observed": observed(first=0.7)}),
    ("adapter_without_gradient", "numerics", {"observed": observed(silent=["a"])}),
    # Where answers are equal nothing learns: the adapters are not to blame.
    ("pairs_equal", "numerics", {"observed": observed(silent=["a"], equal=True)}),
    ("pairs_equal", "numerics", {"observed": observed(equal=True)}),
    ("weights_zero", "numerics", {"observed": observed(silent=["a"]), "notes": [ZEROS]}),
    ("reference_disagrees", "numerics", {
        "numerics": Numerics(losses=[LN2], agreement=[signal(1.2)])
    }),
    ("reference_disagrees", "numerics", {
        "numerics": Numerics(losses=[LN2], agreement=[signal(1.0, None)])
    }),
]  # fmt: skip


@pytest.mark.parametrize(("code", "metric", "changes"), SPOILED, ids=lambda v: str(v)[:30])
def test_a_cause_spoils_its_metric_and_no_other(code, metric, changes, make_cell):
    assert verdicts(make_cell(), **changes) == {metric: [code]}


NAN = {"numerics": Numerics(losses=[None, None])}


def of_checkpoint(cell):
    return msgspec.structs.replace(cell, model="ck")


def reference(first=LN2, second=0.6, silent=()):
    return Reference(signals={"loss": [first, second]}, silent_adapters=list(silent))


BLAMED = [
    # What the reference shows too is no operator's doing.
    ("model_at_fault", NAN | {"observed": observed(first=math.nan)}, reference(math.nan)),
    ("non_finite_loss", NAN | {"observed": observed(first=math.nan)}, reference()),
    ("weights_huge", NAN | {"observed": observed(first=math.nan), "notes": [HUGE]},
     reference(math.nan)),
    ("non_finite_loss", NAN | {"observed": observed(first=math.nan), "notes": [HUGE]},
     reference()),
    # The reference takes two steps, and may have fewer layers.
    ("weights_huge", {"numerics": Numerics(losses=[LN2, 0.6, None]), "notes": [HUGE]},
     reference()),
    ("non_finite_loss", {"numerics": Numerics(losses=[LN2, 0.6, None])}, reference()),
    ("model_at_fault", {}, reference(LN2, math.nan)),
    ("model_at_fault", {"observed": observed(first=0.7)}, reference(0.7)),
    ("first_loss", {"observed": observed(first=0.7)}, reference()),
    ("first_loss", {"observed": observed(first=0.7), "notes": [HUGE]}, reference()),
    ("model_at_fault", {"observed": observed(silent=["a"])}, reference(silent=["a", "b"])),
    ("weights_zero", {"observed": observed(silent=["a"]), "notes": [ZEROS]},
     reference(silent=["a"])),
    ("weights_huge", {"observed": observed(silent=["a"]), "notes": [HUGE]},
     reference(silent=["a"])),
    # Zeros somewhere do not clear a kernel that is alone in passing a layer by.
    ("adapter_without_gradient", {"observed": observed(silent=["a"]), "notes": [ZEROS]},
     reference(silent=["b"])),
    ("adapter_without_gradient", {"observed": observed(silent=["a"])}, reference()),
]  # fmt: skip


@pytest.mark.parametrize(("code", "changes", "plain"), BLAMED, ids=lambda v: str(v)[:30])
def test_a_plain_run_tells_a_checkpoint_from_an_operator(code, changes, plain, make_cell):
    cell = of_checkpoint(make_cell(kernels="custom"))
    assert verdicts(cell, **changes, reference=plain) == {"numerics": [code]}


@pytest.mark.parametrize(
    ("axes", "code"),
    [
        ({"kernels": "stock"}, "model_at_fault"),  # it is a plain run itself
        ({"kernels": "custom"}, "non_finite_loss"),
    ],
)
def test_without_a_reference_only_a_plain_cell_clears_the_operators(axes, code, make_cell):
    changes = NAN | {"observed": observed(first=math.nan)}
    assert verdicts(of_checkpoint(make_cell(**axes)), **changes) == {"numerics": [code]}


def test_random_weights_are_never_to_blame(make_cell):
    for kernels in ("stock", "custom"):
        found = verdicts(
            make_cell(kernels=kernels),
            observed=observed(first=0.7, silent=["a"]),
            reference=reference(0.7, silent=["a"]),
        )
        assert found == {"numerics": ["first_loss", "adapter_without_gradient"]}


SOUND = [
    {},
    {"timed": timed(FLAT[:3])},
    {"timed": timed(others_share=0.1)},
    {"timed": timed(swapped_bytes=[4096, 4096, 4096])},  # what stays in swap costs nothing
    {"timed": timed(swapped_bytes=[None, None])},
    {"timed": timed([1.06, 1.05, 1.04, 1.03, 1.02], warmup_s=[1.08, 1.07])},  # 2 % above the last
    {"timed": timed([1.0, 1.01, 0.99, 1.0, 1.0], warmup_s=[9.0, 1.0, 1.0])},
    VRAM | {"timed": timed(readings=sampled(throttles=("idle", "power_cap", "clock_setting")))},
    VRAM | {"timed": timed(readings=sampled())},
    VRAM | {"timed": timed(readings=held(1300, 1000))},
    VRAM | {"timed": timed(readings=held(9000, None))},  # nobody says whose it is
    # Within what a context and the driver may take.
    VRAM | {"timed": timed(readings=held(5000, None), reserved_bytes=2000 * MIB)},
    {"timed": timed(readings=held(9000, 1000))},  # a host's memory is everybody's
    {"profile": profile(10)},
    VRAM | {"profile": profile(30)},
    {"energy": counted(110.0)},
    {"energy": counted(None)},
    {"window": WINDOW, "sampling": Sampled(sampled(every_s=0.6))},
    {
        "energy": Energy(source="polled", polled_per_step_j=1.0),
        "window": WINDOW,
        "sampling": Sampled(sampled(every_s=0.2)),
    },
    {"numerics": Numerics(losses=[LN2], agreement=[signal(1.09, 0.91)])},
    {"observed": None},
]


@pytest.mark.parametrize("changes", SOUND, ids=lambda v: str(v)[:40])
def test_what_is_within_its_limit_is_ok(changes, make_cell):
    assert verdicts(make_cell(), **changes) == {}


@pytest.mark.parametrize(
    ("axes", "first", "codes"),
    [
        ({"method": "dpo"}, LN2 + 0.9e-5, []),
        ({"method": "dpo"}, LN2 + 1.1e-5, ["first_loss"]),
        ({"method": "dpo"}, math.nan, ["first_loss"]),
        ({"method": "dpo", "precision": "bf16-mixed"}, LN2 + 0.049, []),
        ({"method": "dpo", "precision": "bf16-mixed"}, LN2 + 0.051, ["first_loss"]),
        ({"method": "sft"}, 6.2, []),  # nothing is known of it
        ({"method": "ppo"}, 6.2, []),
    ],
)
def test_a_first_loss_that_is_known_is_held_to_its_band(axes, first, codes, make_cell):
    found = verdicts(make_cell(**axes), observed=observed(first=first))
    assert found == ({"numerics": codes} if codes else {})


def fell_back(path, kernels="custom", kind="vram", operator="selective_scan"):
    run = timed(kernel_path={"model": "transformers", operator: path})
    return kernels, {"memory_kind": kind, "timed": run}


@pytest.mark.parametrize(
    ("case", "spoiled"),
    [
        (fell_back("torch"), ["energy", "memory", "time"]),
        (fell_back("triton"), []),
        (fell_back("torch", kernels="stock"), []),
        (fell_back("torch", kind="cpu tensor storage"), []),
        (fell_back("torch", operator="token_logprob"), []),  # there is no kernel of it
    ],
)
def test_a_kernel_that_fell_back_spoils_all_that_it_costs(case, spoiled, make_cell):
    kernels, changes = case
    found = verdicts(make_cell(kernels=kernels), **changes)
    assert found == {metric: ["kernel_fell_back"] for metric in spoiled}


@pytest.mark.parametrize("word", THROTTLES)
def test_a_word_for_a_low_clock_is_either_harmless_or_throttling(word, make_cell):
    run = timed(readings=sampled(throttles=(word,)))
    harmless = word in ("idle", "clock_setting", "power_cap")
    assert (verdicts(make_cell(), timed=run) == {}) == harmless


def test_each_code_has_two_sentences():
    assert len(REASONS) == len(Code) > 30
    for name, code in REASONS.items():
        assert name == code == Code(name)
        assert code.isidentifier()
        for sentence in (code.meaning, code.remedy):
            assert len(sentence) > 10
            assert not sentence.endswith(".")
        assert code.meaning != code.remedy


def test_a_record_holds_a_code_as_a_string():
    """Older and newer versions read it, whatever codes they know."""
    made = Reason(code=Code.THROTTLED, text="")
    data = msgspec.json.encode(made)
    assert data == b'{"code":"throttled","text":""}'
    assert msgspec.json.decode(data, type=Reason) == made
    foreign = msgspec.json.decode(b'{"code":"of_tomorrow","text":""}', type=Reason)
    assert REASONS.get(foreign.code) is None


def literal_codes():
    """Every code that stands in the sources as a string: of a Reason, or of a CellError."""
    for file in Path(alignmeter.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            given = {k.arg: k.value for k in node.keywords}.get("code")
            if node.func.id == CellError.__name__ and len(node.args) == 3:
                given = node.args[1]
            if node.func.id in (CellError.__name__, Reason.__name__) and isinstance(
                given, ast.Constant
            ):
                yield file.name, given.value


def test_every_code_in_the_sources_is_one_of_them():
    found = list(literal_codes())
    assert len(found) > 10
    assert [row for row in found if row[1] not in REASONS] == []
