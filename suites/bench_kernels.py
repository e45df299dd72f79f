"""Each kernel versus what it replaces: ``pytest --benchmark suites/bench_kernels.py``.

One thread on a CPU, fp32; ``--accelerator cuda`` takes the other table, in bf16, each kernel alone
and then beside the packages that are here. A row is timed only after its kernel agreed with the
float64 reference, and both sides take turns in every round.
"""

import pytest

CPU = (
    # kernel, case, path, passes, versus, rounds
    ("selective_scan", "b1-d512-l256", "best", "fwd+bwd", "transformers", 7),
    ("selective_scan", "b1-d512-l256", "torch", "fwd+bwd", "transformers", 7),
    ("selective_scan", "b1-d512-l1024", "best", "fwd+bwd", "mambapy", 7),
    ("selective_scan", "b1-d512-l1024", "torch", "fwd+bwd", "mambapy", 7),
    ("selective_scan", "b1-d512-l4096", "best", "fwd+bwd", "mambapy", 3),
    ("selective_scan", "b1-d512-l4096", "best", "fwd", "mambapy", 3),
    ("causal_conv1d", "b1-d512-l1024", "best", "fwd+bwd", "transformers", 21),
    ("causal_conv1d", "b1-d512-l4096", "best", "fwd+bwd", "transformers", 11),
    ("ssd_scan", "mamba2-130m-t1024", "best", "fwd+bwd", "transformers", 5),
    ("linear_logprob", "t1024-h256-v128256-trained", "best", "fwd+bwd", "all logits", 5),
    ("linear_logprob", "t1024-h256-v128256-frozen", "best", "fwd+bwd", "all logits", 5),
    ("linear_logprob", "t1024-h256-v128256-trained", "best", "fwd+bwd", "trl", 5),
    ("linear_logprob", "t1024-h256-v128256-frozen", "best", "fwd+bwd", "trl", 5),
    ("nf4_linear", "t1024-4096x4096", "best", "fwd+bwd", "bitsandbytes", 5),
)
GPU = (
    ("selective_scan", "mamba-130m", "best", "fwd", "alone", 50),
    ("selective_scan", "mamba-130m", "best", "fwd+bwd", "alone", 50),
    ("selective_scan", "mamba-2.8b", "best", "fwd", "alone", 50),
    ("selective_scan", "mamba-2.8b", "best", "fwd+bwd", "alone", 50),
    ("causal_conv1d", "mamba-130m", "best", "fwd+bwd", "alone", 50),
    ("causal_conv1d", "mamba-2.8b", "best", "fwd+bwd", "alone", 50),
    ("ssd_scan", "mamba2-130m-t1024", "best", "fwd+bwd", "alone", 50),
    ("ssd_scan", "mamba2-2.8b", "best", "fwd", "alone", 50),
    ("ssd_scan", "mamba2-2.8b", "best", "fwd+bwd", "alone", 50),
    ("linear_logprob", "mamba-130m", "best", "fwd+bwd", "alone", 20),
    ("linear_logprob", "llama-3-8b", "best", "fwd+bwd", "alone", 20),
    ("nf4_linear", "llama-130m-query", "best", "fwd+bwd", "alone", 20),
    ("nf4_linear", "llama-3-8b-up", "best", "fwd+bwd", "alone", 20),
    ("selective_scan", "mamba-130m", "best", "fwd+bwd", "mamba-ssm", 50),
    ("selective_scan", "mamba-2.8b", "best", "fwd", "mamba-ssm", 50),
    ("selective_scan", "mamba-2.8b", "best", "fwd+bwd", "mamba-ssm", 50),
    ("causal_conv1d", "mamba-2.8b", "best", "fwd+bwd", "causal-conv1d", 50),
    ("ssd_scan", "mamba2-2.8b", "best", "fwd", "mamba-ssm", 50),
    ("ssd_scan", "mamba2-2.8b", "best", "fwd+bwd", "mamba-ssm", 50),
    ("linear_logprob", "llama-3-8b", "best", "fwd+bwd", "all logits", 20),
    ("linear_logprob", "llama-3-8b", "best", "fwd+bwd", "liger per token", 20),
    ("linear_logprob", "llama-3-8b", "best", "fwd+bwd", "liger summed loss", 20),
    ("nf4_linear", "llama-3-8b-up", "best", "fwd+bwd", "bitsandbytes", 20),
)
LENGTHS = (
    # kernel, short, long, times as long, rounds
    ("selective_scan", "b1-d512-l1024", "b1-d512-l16384", 16, 5),
)
PROCESSES = (
    # kernel, case, versus
    ("selective_scan", "b1-d512-l4096", "mambapy"),
)
STEPS = (
    # method, architecture, tokens, versus, rounds
    ("dpo", "mamba", 1024, "mambapy", 3),
)
BOUNDED_STEPS = (
    # method, architecture, tokens, versus, seconds after which theirs is ended
    ("dpo", "mamba", 1024, "transformers", 90),
)


@pytest.mark.parametrize("row", CPU, ids=lambda row: "-".join(map(str, row[:5])))
def bench_kernels_on_a_cpu(kernel_bench, row):
    kernel_bench("cpu").kernel(*row)


@pytest.mark.parametrize("row", GPU, ids=lambda row: "-".join(map(str, row[:5])))
def bench_kernels_on_a_gpu(kernel_bench, row):
    kernel_bench("gpu").kernel(*row)


@pytest.mark.parametrize("row", LENGTHS, ids=lambda row: "-".join(map(str, row[:3])))
def bench_lengths(kernel_bench, row):
    kernel_bench("cpu").lengths(*row)


@pytest.mark.parametrize("row", PROCESSES, ids="-".join)
def bench_process_peaks(kernel_bench, row):
    kernel_bench("cpu").process(*row)


@pytest.mark.parametrize("row", STEPS, ids=lambda row: "-".join(map(str, row[:4])))
def bench_steps(kernel_bench, row):
    kernel_bench("any").step(*row)


@pytest.mark.parametrize("row", BOUNDED_STEPS, ids=lambda row: "-".join(map(str, row[:4])))
def bench_bounded_steps(kernel_bench, row):
    kernel_bench("cpu").bounded_step(*row)
