"""This project's steps beside TRL's trainers: same weights, shapes and threads.

Run through tox: ``tox -e peers`` (every method but PPO, TRL 1.16) and ``tox -e peers-ppo`` (TRL
1.12, the last with PPO). Every figure is a fresh process; the two sides take turns, so that a busy
machine slows both. Steps that sample do so on both sides, all the tokens up to T. Printed: seconds
per step and seconds of processor (medians of the processes' medians; the second one hardly sees
what else the machine does, and is to be trusted on a busy one with ``--threads 1``, whose threads
do not wait for each other), bytes that a step adds to what is resident at its peak, and the ratios
with their 95 % intervals over processes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import click
from rich.console import Console
from rich.table import Table

from alignmeter.analysis.intervals import ratio
from alignmeter.units import bytes_text, seconds_text

SEQ_LEN, PAIRS, VOCAB = 256, 2, 32000
PROMPT = SEQ_LEN // 2
STEPS, WARMUP = int(os.environ.get("PEERS_STEPS", "6")), 2
CLOCKS = {"median_s": time.perf_counter, "processor_s": time.process_time}
SHAPE = {
    "vocab_size": VOCAB, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 4, "intermediate_size": 1024, "max_position_embeddings": 2048,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


@click.command()
@click.argument("methods", nargs=-1, required=True)
@click.option("--rounds", default=5, show_default=True, help="Fresh processes per side.")
@click.option("--threads", default=2, show_default=True)
@click.option("--steps", default=6, show_default=True, help="Timed steps of a process.")
def main(methods: tuple[str, ...], rounds: int, threads: int, steps: int) -> None:
    """Compare METHODS (such as dpo, grpo, kto; or ppo) with TRL."""
    os.environ["PEERS_STEPS"] = str(steps)  # processes read it
    with tempfile.TemporaryDirectory() as folder:
        save_model(folder)
        for method in methods:
            found = {"alignmeter": [], "TRL": []}
            for _ in range(rounds):
                for side, results in found.items():
                    results.append(in_a_process(side, method, folder, threads))
            title = f"{method}, {threads} threads, {rounds} rounds"
            Console(width=80).print(table_of(found, title))


def in_a_process(side: str, method: str, folder: str, threads: int) -> dict:
    environment = {
        **os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1", "TRANSFORMERS_VERBOSITY": "error",
    }  # fmt: skip
    command = [sys.executable, "-P", "-W", "ignore", __file__, "--worker", side, method, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{side} {method} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def table_of(found: dict[str, list[dict]], title: str) -> Table:
    table = Table("", "time", "of a processor", "added peak", title=title)
    ours, theirs = found["alignmeter"], found["TRL"]
    for side, results in found.items():
        seconds = (statistics.median(r[name] for r in results) for name in CLOCKS)
        peak = max(r["added_bytes"] for r in results)
        table.add_row(side, *map(seconds_text, seconds), bytes_text(peak))
    peaks = max(r["added_bytes"] for r in ours) / max(r["added_bytes"] for r in theirs)
    table.add_row("ratio", *(times_text(ours, theirs, name) for name in CLOCKS), f"{peaks:.2f}")
    return table


def times_text(ours: list[dict], theirs: list[dict], name: str) -> str:
    times = ratio([r[name] for r in ours], [r[name] for r in theirs])
    interval = "" if times.low is None else f" [{times.low:.2f}, {times.high:.2f}]"
    return f"{times.value:.2f}{interval}"


def save_model(folder: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(folder)


# What follows runs in the fresh process of one side.


def ours(method: str, folder: str) -> dict:
    import torch

    from alignmeter.batches import open_batches
    from alignmeter.methods import open_method, open_setup
    from alignmeter.session.resolve import resolve_cell
    from alignmeter.training.step import SilentProbe
    from alignmeter.worker.memory.cpu_events import record_events

    # Stock kernels, as TRL's side has: the steps are compared, kernels apart from them.
    axes = {
        "accelerator": "cpu", "data": "synthetic", "method": method, "batch": PAIRS,
        "kernels": "stock",
    }  # fmt: skip
    if method == "ppo":
        axes |= {"seq_len": 64}
    else:
        axes |= {"seq_len": SEQ_LEN, "prompt_len": PROMPT, "model": folder}
    if method in ("grpo", "rloo"):  # TRL's rows share a reward function, which costs nothing
        axes |= {"reward": "length"}
    if method == "distill":
        axes |= {"teacher": folder}
    cell = resolve_cell(axes).cell
    setup = open_setup(cell, torch.device("cpu"), seed=0)
    step = open_method(method).build(setup)
    batches = open_batches(cell, vocab_size=setup.vocab_size, seed=0)
    seconds = []
    for number in range(WARMUP + STEPS):
        batch = batches.take(number, setup.device, open_method(method).rows)
        start = now()
        step.run(batch, SilentProbe())
        seconds.append(since(start))
    batch = batches.take(0, setup.device, open_method(method).rows)
    with record_events() as events:
        step.run(batch, SilentProbe())
    return report(seconds[WARMUP:], events)


def now() -> list[float]:
    return [clock() for clock in CLOCKS.values()]


def since(start: list[float]) -> list[float]:
    return [end - begin for begin, end in zip(start, now(), strict=True)]


def report(seconds: list[list[float]], events) -> dict:
    live = peak = 0
    for delta in events.deltas:
        live += delta
        peak = max(peak, live)
    medians = map(statistics.median, zip(*seconds, strict=True))
    return {**dict(zip(CLOCKS, medians, strict=True)), "added_bytes": peak}


def watching(mark_begin: bool):
    """A trainer callback that times steps and records the allocations of the last one."""
    from transformers import TrainerCallback

    from alignmeter.worker.memory.cpu_events import record_events

    class Watch(TrainerCallback):
        def __init__(self):
            self.seconds, self.start, self.recording, self.events = [], None, None, None

        def begin(self):
            self.start = now()
            if len(self.seconds) == WARMUP + STEPS:
                self.recording = record_events()
                self.events = self.recording.__enter__()

        def on_step_begin(self, *_, **__):
            self.begin()

        def on_step_end(self, *_, **__):
            if self.recording is not None:
                self.recording.__exit__(None, None, None)
                self.recording = None
                return
            if self.start is not None:
                self.seconds.append(since(self.start))
            if not mark_begin:  # PPO's trainer announces only the ends of its updates
                self.begin()

    return Watch()


def words(vocab: int, side: str):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, vocab)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="<s>",
        padding_side=side,
    )  # fmt: skip


def text(count: int, seed: int, vocab: int = VOCAB) -> str:
    import random

    draw = random.Random(seed)
    return " ".join(f"w{draw.randrange(3, vocab)}" for _ in range(count))


COLUMNS = {
    "sft": ("prompt", "completion"), "kto": ("prompt", "completion"), "grpo": ("prompt",),
    "rloo": ("prompt",), "distill": ("prompt",),
}  # fmt: skip
"""Of TRL's rows; of methods that are not here those of pairs."""
MORE = {
    "simpo": {"loss_type": "simpo", "cpo_alpha": 0.0},
    "grpo": {"num_generations": 2, "max_completion_length": PROMPT},
    "rloo": {"num_generations": 2, "max_completion_length": PROMPT, "beta": 0.0},
    "distill": {"max_completion_length": PROMPT, "beta": 1.0},
}
"""TRL's settings for what our defaults are."""


def their_rows(method: str):
    import datasets

    datasets.disable_progress_bars()
    columns = COLUMNS.get(method, ("prompt", "chosen", "rejected"))
    rows = [
        {c: text(PROMPT - (c != "prompt"), 9 * i + j) for j, c in enumerate(columns)}
        for i in range(64)
    ]
    if method == "kto":
        rows = [{**row, "label": i % 2 == 0} for i, row in enumerate(rows)]
    return datasets.Dataset.from_list(rows)


def their_kind(method: str, folder: str):
    """TRL's class of settings, its trainer, and what this takes beside the policy."""
    import trl
    from transformers import AutoModelForCausalLM
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    def again():
        return AutoModelForCausalLM.from_pretrained(folder)

    def lengths(completions, **_):
        return [float(len(completion)) for completion in completions]

    return {
        "sft": lambda: (trl.SFTConfig, trl.SFTTrainer, {}),
        "rm": lambda: (trl.RewardConfig, trl.RewardTrainer, {}),
        "dpo": lambda: (trl.DPOConfig, trl.DPOTrainer, {"ref_model": again()}),
        "kto": lambda: (trl.KTOConfig, trl.KTOTrainer, {"ref_model": again()}),
        "simpo": lambda: (CPOConfig, CPOTrainer, {}),
        "orpo": lambda: (ORPOConfig, ORPOTrainer, {}),
        "grpo": lambda: (trl.GRPOConfig, trl.GRPOTrainer, {"reward_funcs": lengths}),
        "rloo": lambda: (trl.RLOOConfig, trl.RLOOTrainer, {"reward_funcs": lengths}),
        "distill": lambda: (
            trl.DistillationConfig, trl.DistillationTrainer, {"teacher_model": again()},
        ),
    }[method]()  # fmt: skip


def theirs(method: str, folder: str) -> dict:
    from transformers import AutoModelForCausalLM, LlamaForSequenceClassification

    config, trainer, beside = their_kind(method, folder)
    single = "chosen" not in COLUMNS.get(method, ("chosen",))
    settings = {
        "per_device_train_batch_size": 2 * PAIRS if single else PAIRS,
        "max_steps": WARMUP + STEPS + 1, "report_to": [], "use_cpu": True, "save_strategy": "no",
        "gradient_checkpointing": False, "bf16": False, "disable_tqdm": True,
        "logging_strategy": "no", "learning_rate": 1e-5, "output_dir": tempfile.mkdtemp(),
        **MORE.get(method, {}),
    }  # fmt: skip
    sampled = COLUMNS.get(method) == ("prompt",)
    if not sampled:
        settings["max_length"] = SEQ_LEN
    watch = watching(mark_begin=True)
    model = AutoModelForCausalLM.from_pretrained(folder)
    if method == "rm":
        model = LlamaForSequenceClassification.from_pretrained(folder, num_labels=1)
    trainer(
        model=model, args=config(**settings), train_dataset=their_rows(method), callbacks=[watch],
        processing_class=words(VOCAB, "left" if sampled else "right"), **beside,
    ).train()  # fmt: skip
    return report(watch.seconds[WARMUP : WARMUP + STEPS], watch.events)


def their_ppo() -> dict:
    import datasets
    from transformers import LlamaForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    from alignmeter.architectures import open_architecture

    datasets.disable_progress_bars()
    family = open_architecture("llama")

    def lm():
        import torch

        return family.build("tiny", seed=0, dtype=torch.float32)

    def scalar():
        config = lm().config
        config.num_labels = 1
        return LlamaForSequenceClassification(config)

    rows, prompt, response = 2 * PAIRS, 32, 32
    updates = WARMUP + STEPS + 2  # the first only starts the clock
    settings = PPOConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=rows, num_mini_batches=1,
        num_ppo_epochs=1, total_episodes=rows * updates, response_length=response, report_to=[],
        use_cpu=True, num_sample_generations=0, save_strategy="no", learning_rate=1e-5, bf16=False,
        gradient_checkpointing=False, disable_tqdm=True, local_rollout_forward_batch_size=rows,
    )  # fmt: skip
    tokenizer = words(512, "left")
    data = datasets.Dataset.from_list(
        [{"input_ids": tokenizer(text(prompt, i, 512))["input_ids"]} for i in range(64)]
    )
    watch = watching(mark_begin=False)
    trainer = PPOTrainer(
        args=settings, processing_class=tokenizer, model=lm(), ref_model=lm(),
        reward_model=scalar(), value_model=scalar(), train_dataset=data, eval_dataset=data,
        callbacks=[watch],
    )  # fmt: skip
    trainer.train()
    return report(watch.seconds[WARMUP : WARMUP + STEPS], watch.events)


def worker(side: str, method: str, folder: str) -> None:
    if side == "alignmeter":
        found = ours(method, folder)
    else:
        found = their_ppo() if method == "ppo" else theirs(method, folder)
    click.echo(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(*sys.argv[2:])
    else:
        main()
