"""What plans of large models cost the host: ``python tests/trust/large_plans.py``.

Each is a fresh `alignmeter plan` with a cache of its own: seconds of wall and of processor, and the
most memory that the process held.
"""

__all__ = ["LLAMA", "MODELS", "main"]

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from alignmeter.units import bytes_text

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 128256,
    "num_key_value_heads": 8, "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip
MODELS = {
    "8B": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    "70B": {
        "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64,
    },
    "405B": {
        "hidden_size": 16384, "intermediate_size": 53248, "num_hidden_layers": 126,
        "num_attention_heads": 128,
    },
}  # fmt: skip
"""Shapes of Llama 3.1 (https://arxiv.org/abs/2407.21783, table 3)."""
CELLS = (("dpo", "lora"), ("dpo", "full"), ("ppo", "lora"))


def cost(config: Path, method: str, peft: str, folder: Path) -> tuple[float, float, int, int]:
    """Wall s, processor s, most bytes of the host, and the planned peak."""
    command = [
        sys.executable, "-P", "-m", "alignmeter", "plan", "--model", str(config), "--method",
        method, "--peft", peft, "--architecture", "llama", "--for", "MI355X", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / f"{config.stem}-{method}-{peft}")}
    start = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        document = json.loads(process.stdout.read())
        _, _, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    (prediction,) = document["predictions"]
    return wall, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss, prediction["peak_bytes"]


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Print the table, of the models NAMED or of all."""
    table = Table("model", "method", "PEFT", "peak", "wall", "processor", "host memory")
    with tempfile.TemporaryDirectory() as root:
        for name in names or MODELS:
            config = Path(root, f"{name}.json")
            config.write_text(json.dumps({**LLAMA, **MODELS[name]}))
            for method, peft in CELLS:
                wall, processor, host, peak = cost(config, method, peft, Path(root))
                table.add_row(
                    name, method, peft, bytes_text(peak), f"{wall:.0f} s", f"{processor:.0f} s",
                    bytes_text(host),
                )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
