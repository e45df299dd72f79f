"""The reason codes of records, each with a sentence and what helps."""

__all__ = ["REASONS", "Code", "Reason"]

from enum import StrEnum

import msgspec

_PASSING = frozenset((
    "host_loaded", "swap_used", "other_processes", "throttled", "counter_stepped_back",
    "sampler_ended", "sampler_gap",
))  # fmt: skip


class Code(StrEnum):
    """Why something is missing or invalid. A record holds the code as a string."""

    meaning: str
    """What happened, a sentence without its full stop."""
    remedy: str
    """What a reader can do about it, the same."""
    passing: bool
    """Whether it was so then, and the same cell measured again may be without it."""

    def __new__(cls, code: str, meaning: str, remedy: str) -> "Code":
        """A string with two sentences."""
        member = str.__new__(cls, code)
        member._value_, member.meaning, member.remedy = code, meaning, remedy
        member.passing = code in _PASSING
        return member

    EXCLUDED = (
        "excluded",
        "the matrix file excludes this combination",
        "remove the `[[exclude]]` from the matrix to measure it",
    )
    IMPOSSIBLE = (
        "impossible",
        "the axes of this cell contradict each other",
        "change the axis that the text names",
    )
    TOO_FEW_DEVICES = (
        "too_few_devices",
        "the cell's step takes more devices than this machine has, or than its torch can join",
        "use a smaller `--world-size`, or a machine that has as many",
    )
    ACCELERATOR_MISSING = (
        "accelerator_missing",
        "the accelerator is not on this machine",
        "see `alignmeter devices` for what is here and why the rest is not",
    )
    LIBRARY_MISSING = (
        "library_missing",
        "a library that this cell needs is not installed",
        "install the extra that the text names",
    )
    DATA_TOO_SHORT = (
        "data_too_short",
        "too few rows of the data reach the prompt length",
        "give longer data, `--batching padded`, or a smaller `--prompt-len` or `--batch`",
    )
    NO_PAIRS = (
        "no_pairs",
        "no row of the data is a pair that can be compared",
        "give rows whose two answers differ; the text says what these are, and where first",
    )
    PAIRS_EQUAL = (
        "pairs_equal",
        "the two answers of too many pairs are equal once they are cut to the sequence length",
        "give a larger `--seq-len`, a smaller `--prompt-len`, or answers that differ earlier",
    )
    ROWS_UNFIT = (
        "rows_unfit",
        "the file holds rows of another kind than the method trains on",
        "give rows of that kind, or a method of that data",
    )
    REWARD_CHANGED = (
        "reward_changed",
        "the file of the reward function is not the one that was checked before the run",
        "leave the file alone while cells run, and measure again",
    )
    REWARD_FAILED = (
        "reward_failed",
        "the reward function or its file raised an exception",
        "correct the function at the line that the text names; it has to score any text",
    )
    REWARD_UNFIT = (
        "reward_unfit",
        "the reward function returned something else than one finite number for each completion",
        "return a list of as many numbers as there are completions",
    )
    CHECKPOINT_CHANGED = (
        "checkpoint_changed",
        "the checkpoint's files are not those that were checked before the run",
        "leave the folder alone while cells run, and measure again",
    )
    INPUT_UNUSABLE = (
        "input_unusable",
        "an input could not be used when the cell came to it, though it was in order before",
        "correct what the text names, leave it alone while cells run, and measure again",
    )
    WEIGHTS_NOT_FINITE = (
        "weights_not_finite",
        "the checkpoint's own weights hold NaN or infinity",
        "take a checkpoint from before it diverged, or save it in a wider dtype",
    )
    OUT_OF_MEMORY = (
        "out_of_memory",
        "an allocation failed",
        "shrink batch or sequence, checkpoint activations, or take a smaller PEFT mode; "
        "`alignmeter plan` tells what fits",
    )
    PREDICTED_OUT_OF_MEMORY = (
        "predicted_out_of_memory",
        "a plan says that the cell does not fit; --no-plan tries it anyway",
        "do as for `out_of_memory`, or give `--no-plan`",
    )
    TIMEOUT = (
        "timeout",
        "the replicate passed its time limit",
        "raise `--timeout`, or take a smaller cell",
    )
    OUTER_TIMEOUT = (
        "outer_timeout",
        "a time limit around the replicate ended it: pytest-timeout's, a test's own",
        "raise that limit, or take a smaller cell; `--cell-timeout` is the replicate's own limit",
    )
    INTERRUPTED = (
        "interrupted",
        "the run was ended while the replicate was measured",
        "give the same command again: it goes on where it was ended",
    )
    WORKER_DIED = (
        "worker_died",
        "the worker process ended without an answer",
        "read its last words in the text; SIGKILL is mostly the kernel's, out of memory",
    )
    EXCEPTION = (
        "exception",
        "the step raised an exception",
        "read the text; one cell alone repeats it: `alignmeter cell` with its `cell` object",
    )
    NON_FINITE_LOSS = (
        "non_finite_loss",
        "a loss was NaN or infinite, or the probabilities from which a rollout is sampled",
        "find the operator with `--kernels stock` and `--precision fp32`; check the data",
    )
    FIRST_LOSS = (
        "first_loss",
        "the first loss was not what it must be (DPO: ln 2, since the policy equals its ref_model)",
        "suspect the kernels or the adapters: compare with `--kernels stock` and `--peft full`",
    )
    ADAPTER_WITHOUT_GRADIENT = (
        "adapter_without_gradient",
        "a LoRA adapter got no gradient in the first step",
        "use kernels that do not bypass the layer, or leave the layer out of the LoRA targets",
    )
    WEIGHTS_ZERO = (
        "weights_zero",
        "weights of the checkpoint are all zeros, and no gradient passes them",
        "look whether the checkpoint was saved whole; blocks added to grow a model begin so",
    )
    WEIGHTS_HUGE = (
        "weights_huge",
        "weights of the checkpoint are larger than any that fp16 holds: their norms overflow",
        "take a checkpoint from before it diverged; look at the tensor that the text names",
    )
    WEIGHTS_DRAWN = (
        "weights_drawn",
        "the model came as a config without weights, and random ones were drawn: time and memory "
        "are those of its shape, losses are those of no trained model",
        "nothing; give the checkpoint's own folder to measure its weights",
    )
    MODEL_AT_FAULT = (
        "model_at_fault",
        "stock operators in fp32 on a CPU show the same: its weights or its config.json cause it",
        "hold config.json against its model card, and try another checkpoint of the family",
    )
    DROPOUT_OFF = (
        "dropout_off",
        "config.json asks for dropout, and steps run without it: losses would be random",
        "nothing; with attention_dropout 0 in config.json the note goes",
    )
    BEYOND_TRAINED_POSITIONS = (
        "beyond_trained_positions",
        "sequences are longer than the checkpoint's positions were made for; time and memory are "
        "right, what the model says there is not",
        "give a smaller `--seq-len`, or a checkpoint whose config.json scales its positions",
    )
    REFERENCE_DISAGREES = (
        "reference_disagrees",
        "the first steps differ from the reference by more than rounding",
        "find the operator with `--kernels stock`; trust no figure of this cell before",
    )
    LEDGER_GAP = (
        "ledger_gap",
        "more bytes without an owner than the ledger's limit",
        "report the cell as an issue, with its record; the peak itself is the allocator's",
    )
    TOO_FEW_STEPS = (
        "too_few_steps",
        "fewer than three timed steps",
        "give `--steps 3` or more",
    )
    WARMUP_UNSETTLED = (
        "warmup_unsettled",
        "steps were still getting faster when they were timed",
        "give more `--warmup`, or more `--steps`",
    )
    HOST_LOADED = (
        "host_loaded",
        "other processes kept the host's cores busy",
        "end them, or wait, and measure again",
    )
    SWAP_USED = (
        "swap_used",
        "memory of the worker was swapped out or in while steps were timed",
        "end what holds the host's memory, or take a smaller cell",
    )
    OTHER_PROCESSES = (
        "other_processes",
        "other processes held memory of the device while steps were timed",
        "end them (`nvidia-smi`, `amd-smi process`), or take a device that is free",
    )
    THROTTLED = (
        "throttled",
        "the device lowered its clock to protect itself while steps were timed",
        "cool it and check its power supply; then measure again",
    )
    CLOCK_DRIFT = (
        "clock_drift",
        "the device's clock was not that of the cell's other rounds",
        "lock the clocks, or let the device come to a steady temperature, and measure again",
    )
    KERNEL_FELL_BACK = (
        "kernel_fell_back",
        "an operator ran its portable version and not the kernel that was asked for",
        "install `alignmeter[triton]`, or ask for `--kernels stock`",
    )
    ENERGY_UNAVAILABLE = (
        "energy_unavailable",
        "no energy counter can be read here",
        "see `alignmeter devices` for what would open it",
    )
    COUNTER_FROZEN = (
        "counter_frozen",
        "the energy counter stood still; the figure is polled power",
        "update the driver; other users of the counter may hold it",
    )
    COUNTER_STEPPED_BACK = (
        "counter_stepped_back",
        "the energy counter stepped back; the figure is polled power",
        "measure again: it wrapped, or the driver was loaded again",
    )
    ENERGY_DISAGREES = (
        "energy_disagrees",
        "counter and polled power differ by more than 10 %",
        "raise `--sample-hz`; check that both belong to the same device",
    )
    TELEMETRY_UNAVAILABLE = (
        "telemetry_unavailable",
        "no library of the vendor answers for this device",
        "see `alignmeter devices` for what is missing",
    )
    SAMPLER_OFF = (
        "sampler_off",
        "the sampler was switched off",
        "leave out `--sample-hz 0`",
    )
    SAMPLER_ENDED = (
        "sampler_ended",
        "the sampler ended before the replicate did",
        "read its last words in the text",
    )
    SAMPLER_HUNG = (
        "sampler_hung",
        "a call of the driver kept the sampler from ending",
        "look for the driver's complaints in the kernel's log",
    )
    SAMPLER_GAP = (
        "sampler_gap",
        "the sampler missed too much of the energy window",
        "free a core of the host for it, and measure again",
    )
    NOT_MEASURED = (
        "not_measured",
        "the backend gives no such figure",
        "read the text for what came before it",
    )


REASONS: dict[str, Code] = {code.value: code for code in Code}
"""Code -> its member. Records of other versions may hold codes that are not here."""


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why something is missing: ``code`` is a key of `REASONS`."""

    code: str
    text: str
