"""The kernel benchmark: a gate before the clock, baselines that compute the same, honest ratios."""

import pytest
import torch

from alignmeter.kernelbench import (
    BASELINES,
    Comparison,
    achieved,
    bounded_step_s,
    compare_kernel,
    compare_step,
    process_peak_bytes,
)
from alignmeter.kernelbench.compare import find_kernel
from alignmeter_kernels.closeness import check_kernel

ON_A_CPU = [
    (kernel, name)
    for kernel, rows in BASELINES.items()
    for name in rows
    if name not in ("mamba-ssm", "causal-conv1d", "liger")  # these need a GPU
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
        compare_kernel(name, "check", next(iter(BASELINES[name].values())), backward=True,
                       device="cpu")  # fmt: skip


def test_ratios_by_hand():
    """Rounds of 2, 4 and 6 s beside 1, 1 and 2 s: medians 4 and 1, pairs 2, 4 and 3."""
    made = Comparison(ours=lambda: None, theirs=lambda: None, device="cpu")
    made.ours_s, made.theirs_s = [1.0, 1.0, 2.0], [2.0, 4.0, 6.0]
    made.ours_added_bytes, made.theirs_added_bytes = 10, 35
    found = made.summary()
    assert (found["ours_s"], found["theirs_s"], found["speedup"]) == (1.0, 4.0, 4.0)
    assert found["speedup_quartiles"] == [2.0, 4.0]
    assert found["memory_ratio"] == 3.5


def test_added_memory_is_the_allocators():
    def call():
        kept = torch.ones(1000)
        del kept
        torch.ones(500)

    made = Comparison(ours=call, theirs=lambda: None, device="cpu")
    made.measure_memory()
    assert made.ours_added_bytes == 4000
    assert made.theirs_added_bytes == 0


def test_a_step_is_compared_with_the_same_step():
    made = compare_step("dpo", "mamba", 16, "transformers", device="cpu")
    made.run_theirs()
    made.run_ours()
    made.measure_memory()
    assert 0 < made.ours_added_bytes < made.theirs_added_bytes
    with pytest.raises(KeyError):
        compare_step("dpo", "mamba", 16, "no-such-baseline", device="cpu")


SUITE = """
def bench_one(kernel_bench):
    row = "causal_conv1d", "b1-d512-l1024", "torch", "fwd+bwd", "transformers", 2
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


@pytest.mark.full
def test_the_suite_prints_its_table(pytester):
    pytester.makepyfile(bench_few=SUITE)
    pytester.makeini(
        "[pytest]\naddopts = -p alignmeter.plugin\n"
        "python_files = bench_*.py\npython_functions = bench_*\n"
    )
    result = pytester.runpytest_subprocess("--benchmark", "-rs", "bench_few.py")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.re_match_lines(
        [
            r"=+ kernels =+",
            r"causal_conv1d b1-d512-l1024",
            r"  fwd\+bwd, torch, versus .*\d (ms|s) .*\dx",
        ]
    )
    result.stdout.fnmatch_lines(
        ["*4x as long*versus*", "*b1-d512-l1024*", "*per token: time *",
         "*theirs was ended before*", "*this row is for a gpu*"]
    )  # fmt: skip
    result = pytester.runpytest_subprocess("-rs", "bench_few.py")
    result.assert_outcomes(skipped=4)
    result.stdout.fnmatch_lines(["*run it with `pytest --benchmark`*"])


def test_a_step_that_takes_too_long_is_ended():
    seconds, ended = bounded_step_s("dpo", "mamba", 16, "transformers", 100)
    assert ended
    assert 0 < seconds < 100
    assert bounded_step_s("dpo", "mamba", 16, "transformers", 0.5) == (0.5, False)


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
    found = achieved(kernel, kernel.check, backward=True, seconds=2.0, device="cuda")
    assert found["bytes_per_s"] == (2 * (inputs + y) + inputs) / 2
    assert found["share_of_copy"] == found["bytes_per_s"] / 1e6
    kernel = find_kernel("linear_logprob")
    found = achieved(kernel, kernel.check, backward=True, seconds=2.0, device="cuda")
    assert found["flops_per_s"] == 3 * 2 * 63 * 60 * 1000 / 2
    assert found["share_of_product"] == found["flops_per_s"] / 1e9
