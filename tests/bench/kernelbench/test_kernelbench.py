"""The kernel benchmark: a gate before the clock, baselines that compute the same, honest ratios."""

import pytest
import torch
from fake_accelerator import FAKE, NAME, ROW

from alignmeter.accelerators.cpu import CPU
from alignmeter.kernelbench import (
    BASELINES,
    Comparison,
    achieved,
    bounded_step_s,
    compare_kernel,
    compare_step,
    process_peak_bytes,
)
from alignmeter.kernelbench.baselines import Baseline
from alignmeter.kernelbench.compare import find_kernel, one_pass
from alignmeter.kernelbench.steps import step_runner
from alignmeter.registry import ACCELERATORS
from alignmeter_kernels.closeness import check_kernel

ON_A_CPU = [
    (kernel, name)
    for kernel, rows in BASELINES.items()
    for name in rows
    if name not in ("mamba-ssm", "causal-conv1d", "liger summed loss")  # these need a GPU
]


@pytest.mark.parametrize(("name", "baseline"), ON_A_CPU)
def test_a_baseline_computes_what_the_kernel_does(name, baseline):
    chosen = BASELINES[name][baseline]
    if chosen.missing():
        pytest.skip(f"{chosen.missing()}; tox -e kernels installs it")
    kernel = find_kernel(name)
    inputs = kernel.check.make("cpu", torch.float32)
    ours, theirs = (
        found[0] if isinstance(found, tuple) else found
        for found in (
            kernel.operator(**inputs, **kernel.check.options),
            chosen.run(**inputs, **kernel.check.options),
        )
    )
    size = ours.abs().max().item()
    torch.testing.assert_close(theirs.float(), ours.float(), rtol=0, atol=1e-4 * size)


@pytest.mark.parametrize("name", BASELINES)
def test_a_wrong_kernel_is_not_timed(name, monkeypatch):
    kernel = find_kernel(name)
    check_kernel(kernel, kernel.check, "cpu", torch.float32)

    def slightly_wrong(**inputs):
        found = kernel.operator(**inputs)
        first, *rest = found if isinstance(found, tuple) else (found,)
        return first * 1.001, *rest

    wrong = type(kernel)(
        name=name, operator=slightly_wrong, reference=kernel.reference, check=kernel.check
    )
    monkeypatch.setattr("alignmeter.kernelbench.compare.find_kernel", lambda _: wrong)
    with pytest.raises(AssertionError, match=r"output 0: .* apart"):
        compare_kernel(name, "check", None, backward=True, accelerator=CPU)


def made(ours, theirs=None):
    return Comparison(ours=ours, theirs=theirs, accelerator=CPU)


def test_ratios_by_hand():
    """Rounds of 2, 4 and 6 s beside 1, 1 and 2 s: medians 4 and 1, pairs 2, 4 and 3."""
    both = made(lambda: None, lambda: None)
    both.ours.seconds, both.theirs.seconds = [1.0, 1.0, 2.0], [2.0, 4.0, 6.0]
    both.ours.added_bytes, both.theirs.added_bytes = 10, 35
    found = both.summary()
    assert (found["ours_s"], found["theirs_s"], found["speedup"]) == (1.0, 4.0, 4.0)
    assert found["speedup_quartiles"] == [2.0, 4.0]
    assert found["memory_ratio"] == 3.5


def test_alone_nothing_is_said_of_another():
    alone = made(lambda: None)
    alone.ours.seconds, alone.ours.added_bytes = [1.0, 3.0, 2.0], 10
    alone.run_theirs()
    assert alone.summary() == {"ours_s": 2.0, "rounds": 3, "ours_added_bytes": 10}


def test_added_memory_is_the_allocators():
    def call():
        kept = torch.ones(1000)
        del kept
        torch.ones(500)

    both = made(call, lambda: None)
    both.measure_memory()
    assert both.ours.added_bytes == 4000
    assert both.theirs.added_bytes == 0


def test_gradients_are_given():
    """Of the first output, drawn once: nothing is summed, and no gradient is kept."""
    kernel = find_kernel("selective_scan")
    inputs = kernel.check.make("cpu", torch.float32)
    seen = []

    def run(**given):
        y, last = kernel.operator(**given)
        y.register_hook(seen.append)
        return y, last

    both = one_pass(run, kernel.check, inputs, backward=True)
    both()
    both()
    first, second = seen
    assert torch.equal(first, second)
    assert first.unique().numel() > first.numel() // 2
    assert all(tensor.grad is None for tensor in inputs.values())


def test_a_gradient_that_is_left_out_is_refused():
    """A baseline that computes less would look faster."""
    kernel = find_kernel("causal_conv1d")
    inputs = kernel.check.make("cpu", torch.float32)
    lazy = one_pass(lambda *, x, **_: x * 2, kernel.check, inputs, backward=True)
    with pytest.raises(RuntimeError, match="not have been used"):
        lazy()


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ("no_such_package:thing", "no_such_package is not installed"),
        ("json:no_such_thing", "the json that is installed has no no_such_thing"),
        ("json.decoder:JSONDecoder", None),
        ("json.no_such_module:thing", "json.no_such_module cannot be imported: No module named"),
        (None, None),
    ],
)
def test_a_baseline_that_cannot_run_says_why(needs, reason):
    found = Baseline(run=print, needs=needs).missing()
    assert found is None if reason is None else found.startswith(reason)


def test_a_step_is_compared_with_the_same_step():
    both = compare_step("dpo", "mamba", 16, "transformers", accelerator=CPU)
    both.run_theirs()
    both.run_ours()
    both.measure_memory()
    assert 0 < both.ours.added_bytes < both.theirs.added_bytes
    with pytest.raises(KeyError):
        compare_step("dpo", "mamba", 16, "no-such-baseline", accelerator=CPU)


def test_a_step_runs_on_an_accelerator_whose_name_is_not_torchs(monkeypatch):
    """As ROCm's: torch calls its devices cuda."""
    monkeypatch.setitem(ACCELERATORS, NAME, ROW)
    monkeypatch.setattr("alignmeter.session.resolve.missing_text", lambda _: None)
    loss = step_runner("dpo", "mamba", 16, None, accelerator=FAKE)()
    assert loss.device == torch.device("cpu")
    assert loss.isfinite()


SUITE = """
def bench_one(kernel_bench):
    row = "causal_conv1d", "b1-d512-l1024", "torch", "fwd+bwd", "transformers", 2
    kernel_bench("cpu").kernel(*row)

def bench_alone(kernel_bench):
    row = "causal_conv1d", "b1-d512-l1024", "torch", "fwd", "alone", 2
    kernel_bench("cpu").kernel(*row)

def bench_lengths(kernel_bench):
    row = "causal_conv1d", "b1-d512-l1024", "b1-d512-l4096", 4, 2
    kernel_bench("cpu").lengths(*row)

def bench_bounded(kernel_bench):
    kernel_bench("cpu").bounded_step("dpo", "mamba", 128, "transformers", 1)

def bench_on_a_gpu(kernel_bench):
    row = "causal_conv1d", "mamba-2.8b", "best", "fwd", "causal-conv1d", 2
    kernel_bench("gpu").kernel(*row)
"""


@pytest.mark.exhaustive
def test_the_suite_prints_its_table(pytester, monkeypatch):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # of the tests, not of the suite
    pytester.makepyfile(bench_few=SUITE)
    pytester.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin\n"
        "python_files = bench_*.py\npython_functions = bench_*\n"
    )
    result = pytester.runpytest_subprocess("--benchmark", "-rs", "bench_few.py")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.re_match_lines(
        [
            r"=+ kernels =+",
            r"causal_conv1d b1-d512-l1024",
            r"  fwd\+bwd, torch, versus .*\d (ms|s) .*\dx",
            r"  fwd, torch, alone +\d.*(ms|us) +- +- ",
        ]
    )
    result.stdout.fnmatch_lines(
        ["*4x as long*versus*", "*b1-d512-l1024*", "*per token: time *",
         "*theirs was ended before*", "*this row is for a gpu*"]
    )  # fmt: skip
    result = pytester.runpytest_subprocess("-rs", "bench_few.py")
    result.assert_outcomes(skipped=5)
    result.stdout.fnmatch_lines(["*run it with `pytest --benchmark`*"])


@pytest.mark.full
def test_a_step_that_takes_too_long_is_ended():
    seconds, ended = bounded_step_s("dpo", "mamba", 16, "transformers", 100)
    assert ended
    assert 0 < seconds < 100
    assert bounded_step_s("dpo", "mamba", 16, "transformers", 0.5) == (0.5, False)


@pytest.mark.full
def test_the_peak_of_a_process_holds_its_libraries():
    """torch alone is more than 150 MiB; and it is the child's, not its parent's."""
    kept = torch.ones(2**29, dtype=torch.uint8)
    peak = process_peak_bytes("causal_conv1d", "b1-d512-l1024", None)
    assert 150 * 2**20 < peak < 2**30
    del kept
    with pytest.raises(RuntimeError, match="KeyError: 'no-such-case'"):
        process_peak_bytes("causal_conv1d", "no-such-case", None)


def test_rates_are_shares_of_the_device(monkeypatch):
    """The least traffic by hand: x, weight and bias read, y written; backward the same again, with
    y's gradient in y's place, and one gradient per input. All bf16."""
    monkeypatch.setattr("alignmeter.kernelbench.rates._copy_rate", lambda _: 1e6)
    monkeypatch.setattr("alignmeter.kernelbench.rates._product_rate", lambda _: 1e9)
    kernel = find_kernel("causal_conv1d")
    sizes = {"x": 2 * 5 * 63, "weight": 5 * 4, "bias": 5}
    inputs, y = 2 * sum(sizes.values()), 2 * sizes["x"]
    found = achieved(kernel, kernel.check, backward=True, seconds=2.0, accelerator=CPU)
    assert found["bytes_per_s"] == (2 * (inputs + y) + inputs) / 2
    assert found["share_of_copy"] == found["bytes_per_s"] / 1e6
    kernel = find_kernel("linear_logprob")
    found = achieved(kernel, kernel.check, backward=True, seconds=2.0, accelerator=CPU)
    assert found["flops_per_s"] == 3 * 2 * 63 * 60 * 1000 / 2
    assert found["share_of_product"] == found["flops_per_s"] / 1e9
