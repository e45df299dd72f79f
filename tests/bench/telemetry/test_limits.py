"""Limits of memory and CPU time, on trees of files as kernels, containers and schedulers make them.

Expected figures are the trees' own, in MiB.
"""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from alignmeter.accelerators import cpu
from alignmeter.errors import CellError
from alignmeter.telemetry.linux.limits import MemoryLimit, cpus, memory_limit

MIB = 2**20
V1_NONE = "9223372036854771712"  # what v1 writes where there is no limit
MEMINFO = {"proc/meminfo": f"MemTotal: {1000 * 1024} kB\nMemFree: 1 kB\n"
           f"MemAvailable: {600 * 1024} kB"}  # fmt: skip
MOUNT = "30 20 0:26 {inside} /sys/fs/cgroup{below} rw - {kind} {kind} rw{option}"
V2 = MOUNT.format(inside="/", below="", kind="cgroup2", option="")
V1 = MOUNT.format(inside="/", below="/memory", kind="cgroup", option=",memory")


def tree(root, files):
    for name, text in (MEMINFO | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def group(folder, limit, used, stat="", *, v1=False, high="max"):
    """The files of one group; amounts in MiB, ``limit`` may be text."""
    at = f"sys/fs/cgroup/{folder}"
    limit = limit if isinstance(limit, str) else str(limit * MIB)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else (
        "memory.max", "memory.current")  # fmt: skip
    more = {} if v1 else {f"{at}/memory.high": high if high == "max" else str(high * MIB)}
    return {f"{at}/{names[0]}": limit, f"{at}/{names[1]}": str(used * MIB),
            f"{at}/memory.stat": stat, **more}  # fmt: skip


def own(text, mount):
    return {"proc/self/cgroup": text, "proc/self/mountinfo": mount}


ROOM = [
    # name, files, total, free, by, free by
    ("no limit", {}, 1000, 600, "", ""),
    (
        "v2, the container's own root (s13)",
        {"sys/fs/cgroup/memory.max": str(200 * MIB), "sys/fs/cgroup/memory.current": str(95 * MIB)},
        200, 105, "memory.max", "memory.max",
    ),
    (
        "v2, own path",
        own("0::/system.slice/job", V2) | group("system.slice/job", 300, 100)
        | group("system.slice", "max", 400),
        300, 200, "system.slice/job/memory.max", "system.slice/job/memory.max",
    ),
    (
        "v2, a parent binds, and files that the kernel drops are free",
        own("0::/slurm/job_7/step_0", V2) | group("slurm/job_7/step_0", "max", 10)
        | group("slurm/job_7", 400, 300, f"anon {100 * MIB}\ninactive_file {150 * MIB}"),
        400, 250, "slurm/job_7/memory.max", "slurm/job_7/memory.max",
    ),
    (
        "v2, high below max",
        own("0::/a", V2) | group("a", 400, 50, high=100), 100, 50, "a/memory.high", "a/memory.high",
    ),
    (
        "a limit above the host's memory, but less of it left than the host has",
        own("0::/a", V2) | group("a", 2000, 1900), 1000, 100, "", "a/memory.max",
    ),
    (
        "v2 path of the host inside a container: only the mount's root is here",
        own("0::/kubepods/pod1/c", V2) | group("", 500, 100), 500, 400, "memory.max", "memory.max",
    ),
    (
        "a mount whose root is the container's group",
        own("0::/docker/abc/x", MOUNT.format(inside="/docker/abc", below="", kind="cgroup2",
                                             option="")) | group("x", 128, 28),
        128, 100, "x/memory.max", "x/memory.max",
    ),
    ("a path out of the namespace", own("0::/../b", V2) | group("", 64, 4), 64, 60, "memory.max",
     "memory.max"),
    (
        "v1",
        own("9:name=systemd:/\n4:memory:/job/x", V1) | group("memory/job/x", V1_NONE, 5, v1=True)
        | group("memory/job", 256, 200, f"inactive_file 1\ntotal_inactive_file {44 * MIB}", v1=True)
        | group("memory", V1_NONE, 999, v1=True),
        256, 100, "memory/job/memory.limit_in_bytes", "memory/job/memory.limit_in_bytes",
    ),
    (
        "v1 and v2 beside each other: the least of both",
        own("4:memory:/a\n0::/b", V1 + "\n" + MOUNT.format(
            inside="/", below="/unified", kind="cgroup2", option=""))
        | group("memory/a", 300, 0, v1=True) | group("unified/b", 200, 0),
        200, 200, "unified/b/memory.max", "unified/b/memory.max",
    ),
    (
        "RLIMIT_AS and RLIMIT_DATA",
        {"proc/self/limits": f"Max address space         {700 * MIB}  unlimited  bytes\n"
         f"Max data size             {650 * MIB}            {900 * MIB}  bytes",
         "proc/self/status": f"VmSize: {400 * 1024} kB\nVmData: {20 * 1024} kB"},
        650, 300, "RLIMIT_DATA", "RLIMIT_AS",
    ),
    (
        "more in use than there may be: nothing is left, and no less",
        own("0::/a", V2) | group("a", 100, 120), 100, 0, "a/memory.max", "a/memory.max",
    ),
]  # fmt: skip


def _at(place):
    return f"/sys/fs/cgroup/{place}" if "memory." in place else place


@pytest.mark.parametrize(
    ("files", "total", "free", "by", "free_by"), [row[1:] for row in ROOM], ids=[r[0] for r in ROOM]
)
def test_the_least_of_host_and_every_limit_that_binds(tmp_path, files, total, free, by, free_by):
    found = memory_limit(tree(tmp_path, files))
    assert found == MemoryLimit(
        total_bytes=total * MIB, free_bytes=free * MIB, by=_at(by), free_by=_at(free_by)
    )


def test_a_host_that_tells_no_memory_has_no_limit(tmp_path):
    assert memory_limit(tmp_path) is None


QUOTAS = [
    ({}, None),
    ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
    ({"sys/fs/cgroup/cpu.max": "250000 100000"}, 2.5),
    ({**own("0::/a/b", V2), "sys/fs/cgroup/a/b/cpu.max": "400000 100000",
      "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
     None),
    ({**own("3:cpuacct,cpu:/j", MOUNT.format(inside="/", below="/cpu,cpuacct", kind="cgroup",
                                             option=",cpu,cpuacct")),
      "sys/fs/cgroup/cpu,cpuacct/j/cpu.cfs_quota_us": "50000",
      "sys/fs/cgroup/cpu,cpuacct/j/cpu.cfs_period_us": "100000"}, 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), QUOTAS)
def test_the_least_quota_of_cpu_time(tmp_path, files, expected):
    assert cpus(tree(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("quota", "variable", "torchs", "expected"),
    [(None, None, 8, 8), (2.5, None, 8, 2), (0.5, None, 8, 1), (16.0, None, 8, 8),
     (2.0, "OMP_NUM_THREADS", 8, 8), (2.0, "MKL_NUM_THREADS", 8, 8)],
)  # fmt: skip
def test_threads_are_what_a_quota_leaves_unless_somebody_says(
    monkeypatch, quota, variable, torchs, expected
):
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if variable is not None:
        monkeypatch.setenv(variable, str(torchs))
    monkeypatch.setattr("torch.get_num_threads", lambda: torchs)
    monkeypatch.setattr(cpu, "cpus", lambda: quota)
    assert cpu.host_threads() == expected


def test_the_cpus_memory_is_the_limit_and_the_record_says_what_sets_it(monkeypatch):
    from alignmeter.accelerators.provenance import collect

    limit = MemoryLimit(total_bytes=MIB, free_bytes=1, by="RLIMIT_AS", free_by="RLIMIT_AS")
    monkeypatch.setattr(cpu, "memory_limit", lambda: limit)
    found = collect(*cpu.CPU.devices(), 1)
    assert (found.device_memory_bytes, found.memory_limited_by) == (MIB, "RLIMIT_AS")


DEVICES = [sys.executable, "-P", "-m", "alignmeter", "devices"]


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="mounts a limit in a namespace of its own: needs Linux, root and unshare",
)
def test_a_container_with_2_gib_has_2_gib(tmp_path):
    """s13, with the kernel's own mounts."""
    (tmp_path / "memory.max").write_text(f"{2**31}\n")
    (tmp_path / "memory.current").write_text("100000000\n")
    may = [shutil.which("unshare"), "-m", "true"]
    if subprocess.run(may, check=False, capture_output=True).returncode:
        pytest.skip("this container may not make namespaces; run it where unshare -m works")
    mounted = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, str(tmp_path), *DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("cpu")]
    assert line.endswith(", 2 GiB"), done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_limit_of_the_address_space_is_the_cpus_memory():
    command = ["prlimit", f"--as={2**34}", *DEVICES]
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit of util-linux")
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("cpu")]
    assert line.endswith(", 16 GiB") or memory_limit().total_bytes < 2**34, (
        done.stdout + done.stderr
    )


@pytest.mark.parametrize(
    ("by", "said"),
    [
        pytest.param("", "when memory runs out)", marks=pytest.mark.exhaustive),
        ("/sys/fs/cgroup/memory.max", "runs out: /sys/fs/cgroup/me"),
    ],
)
def test_a_worker_that_was_killed_is_told_with_the_limit_that_binds(monkeypatch, by, said):
    from alignmeter.session import launcher

    limit = MemoryLimit(total_bytes=2**31, free_bytes=1, by=by)
    monkeypatch.setattr(launcher, "host_memory", lambda: limit)
    with launcher.Launcher() as started:
        worker = started.start()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(CellError) as caught:
            worker.call("peaks", timeout_s=60)
        worker.kill()
    assert "was ended by SIGKILL" in caught.value.text
    assert said in caught.value.text
    assert ("allows 2 GiB" in caught.value.text) == bool(by)
