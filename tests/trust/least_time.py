"""Steps here versus their least time: ``python tests/trust/least_time.py``.

Cells of several shapes are measured, and the share of the bound that each step and phase reaches is
printed, by this machine's peaks as they were measured first. Exit status 1 if one is above 1.
"""

__all__ = ["main"]

import os
import sys
import tempfile

import click
from rich.console import Console
from rich.table import Table

from alignmeter.cells.settings import Settings
from alignmeter.session import measure
from alignmeter.session.launcher import Launcher
from alignmeter.session.resolve import Planned, resolve_cell

CELLS = (
    {"method": "sft", "seq_len": 256},
    {"method": "sft", "seq_len": 256, "precision": "bf16", "checkpointing": "on"},
    {"method": "dpo", "seq_len": 128, "peft": "lora"},
    {"method": "ppo", "seq_len": 64},
    {"method": "ppo", "seq_len": 64, "architecture": "mamba2", "precision": "bf16-mixed"},
    {"method": "grpo", "seq_len": 64, "peft": "qlora", "rollout": "static"},
    {"method": "sft", "seq_len": 32, "size": "130m", "precision": "bf16"},
    {"method": "sft", "seq_len": 64, "size": "130m", "precision": "bf16", "peft": "lora"},
    {"method": "grpo", "seq_len": 32, "size": "130m", "precision": "bf16"},
)  # fmt: skip


@click.command()
def main() -> None:
    """Print the table."""
    table = Table("cell", "step", "phases")
    launcher, worst = Launcher(), 0.0
    launcher.begin_round(0)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # for peaks of today
        for axes in CELLS:
            cell = resolve_cell({"accelerator": "cpu", "kernels": "custom", **axes}).cell
            planned = Planned(cell=cell, unsupported=None)
            record = measure(planned, 0, Settings(warmup=1, steps=3), launcher).record
            shares = {name: phase.bound_share for name, phase in record.phases.items()}
            worst = max(worst, record.throughput.bound_share, *shares.values())
            phases = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            table.add_row(cell.id, f"{record.throughput.bound_share:.2f}", phases)
    launcher.close()
    Console(width=120).print(table)
    sys.exit(0 if worst <= 1 else 1)


if __name__ == "__main__":
    main()
