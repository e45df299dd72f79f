"""Steps of several devices through the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from alignmeter.analysis.delta import deltas
from alignmeter.records.folder import load_folders


@pytest.mark.exhaustive
def test_a_run_of_two_devices_ends_with_what_each_of_them_had(tmp_path):
    done = subprocess.run(
        [
            Path(sys.executable).parent / "alignmeter", "run", "--architecture", "llama",
            "--peft", "full", "--seq-len", "16", "--data", "synthetic", "--accelerator", "cpu",
            "--world-size", "1,2", "--parallel", "fsdp2", "--steps", "3", "--sample-hz", "0",
            "--operators", "--out", "out",
        ],
        capture_output=True, text=True, cwd=tmp_path, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Steps of several devices" in done.stdout
    records = load_folders([tmp_path / "out"]).records
    assert [record.status for record in records] == ["ok"] * 4
    assert sorted(len(record.ranks) for record in records) == [0, 0, 2, 2]
    for record in records:
        assert record.numerics.agrees in (True, None)
        if record.ranks:
            assert record.communication.exposed_s > 0
    found = {delta.cell.world_size: delta for delta in deltas(records)}
    assert found.keys() == {1, 2}
    # Of what PPO has more of, weights and optimizer states, each rank has half.
    assert 0.4 * found[1].bytes < found[2].bytes < 0.6 * found[1].bytes
    assert 'id="ranks"' in (tmp_path / "out" / "report.html").read_text()
