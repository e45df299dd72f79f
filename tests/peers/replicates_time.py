"""What replicates cost: ``python tests/peers/replicates_time.py``.

The quick matrix with one replicate and with several, into folders of their own. What a run does
once (references, kernels compiled) is done by one short run before both.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click


@click.command()
@click.option("--matrix", default="quick", show_default=True)
@click.option("--replicates", default=3, show_default=True)
def main(matrix: str, replicates: int) -> None:
    """Print both times and their ratio."""
    with tempfile.TemporaryDirectory(prefix="alignmeter-replicates-") as folder:
        measure(Path(folder) / "before", matrix, 1, "--steps", "1")
        one = measure(Path(folder) / "one", matrix, 1)
        several = measure(Path(folder) / "several", matrix, replicates)
    click.echo(f"1 replicate {one:.0f} s, {replicates} replicates {several:.0f} s: "
               f"{several / one:.2f} times")  # fmt: skip


def measure(folder: Path, matrix: str, replicates: int, *more: str) -> float:
    """Seconds of the whole command."""
    command = [Path(sys.executable).parent / "alignmeter", "run", matrix, "--out", folder]
    start = time.monotonic()
    subprocess.run(
        [*command, "--replicates", str(replicates), *more],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - start


if __name__ == "__main__":
    main()
