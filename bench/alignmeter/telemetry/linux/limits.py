"""What this process may take of the host: the least of the machine and of every limit that binds.

Containers, Slurm and Kubernetes set their limits by control groups; a limit of a group binds all
groups below it, so those above this process's own count too. Inside a container the group's path is
often that of the host, while ``/sys/fs/cgroup`` is the container's own: what is not there is
skipped, and the folder itself always read.

Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the Linux kernel,
scheduler/sched-bwc.rst for CPU quotas, cgroups(7), proc(5) and getrlimit(2).
"""

__all__ = ["MemoryLimit", "cpus", "memory_limit"]

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignmeter.telemetry.kernel_files import number, text

_ROOT = Path("/")
_CGROUP = Path("sys/fs/cgroup")
_V2_LIMITS = ("memory.max", "memory.high")
"""Beyond the first a process is killed, beyond the second it is slowed until nothing moves."""
_V1_LIMITS = ("memory.limit_in_bytes",)
_RLIMITS = {
    "Max address space": ("RLIMIT_AS", "VmSize"),
    "Max data size": ("RLIMIT_DATA", "VmData"),
}
"""Line of ``limits`` -> its name in getrlimit(2), and what of ``status`` is held against it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLimit:
    """``total_bytes``: most that may be in use. ``free_bytes``: what of it is left now, where
    files that the kernel would drop count as free. ``by`` and ``free_by``: what sets the one and
    the other; empty where it is the host's own memory.
    """

    total_bytes: int
    free_bytes: int
    by: str = ""
    free_by: str = ""


def memory_limit(root: Path = _ROOT) -> MemoryLimit | None:
    """This process's limit; ``None`` where the host does not tell its memory.

    ``root``: where ``proc`` and ``sys`` are.
    """
    host = _kib_lines(root / "proc/meminfo")
    if not {"MemTotal", "MemAvailable"} <= host.keys():
        return None
    found = [("", host["MemTotal"], host["MemAvailable"])]
    found += _of_groups(root)
    found += _of_process(root)
    by, total, _ = min(found, key=lambda limit: limit[1])
    free_by, _, free = min(found, key=lambda limit: limit[2])
    return MemoryLimit(total_bytes=total, free_bytes=max(0, free), by=by, free_by=free_by)


def cpus(root: Path = _ROOT) -> float | None:
    """CPUs whose time this process may use, by its group's quotas; ``None`` without a quota.

    The set of CPUs that it may run on is its affinity, which the kernel narrows by cpusets itself.
    """
    quotas = []
    for folder in _groups(root, "cpu"):
        quota, _, period = text(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
        former, every = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
        if former is not None and every and former > 0:
            quotas.append(former / every)
    return min(quotas, default=None)


def _kib_lines(file: Path) -> dict[str, int]:
    """Name -> bytes of lines like ``MemTotal: 1000 kB``; the kernel writes kB and means KiB."""
    found = {}
    for line in text(file).splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB":
            found[name] = int(words[0]) * 1024
    return found


def _of_groups(root: Path) -> Iterator[tuple[str, int, int]]:
    """Name of the file, limit and what is left of it, for each group that has one."""
    for folder in _groups(root, "memory"):
        used = number(folder / "memory.current")
        if used is None:
            used = number(folder / "memory.usage_in_bytes")
        dropped = _inactive_file_bytes(folder / "memory.stat")
        for name in (*_V2_LIMITS, *_V1_LIMITS):
            limit = number(folder / name)  # "max" is no number
            if limit is not None:
                left = limit - max(0, (used or 0) - dropped)
                yield f"/{(folder / name).relative_to(root)}", limit, left


def _inactive_file_bytes(file: Path) -> int:
    """Of the group and those below it: v1 writes that with ``total_``, v2 has nothing else."""
    found = dict(line.split()[:2] for line in text(file).splitlines() if " " in line)
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's groups and of those above them, each once."""
    seen: set[Path] = set()
    for path, mounts in _hierarchies(root, controller):
        for inside, mount in mounts:
            own = path.removeprefix(inside.rstrip("/")) if path.startswith(inside) else path
            # A path that leads out of the namespace ("/../x") names what is not shown here.
            parts = [part for part in own.split("/") if part not in ("", "..")]
            for depth in range(len(parts), -1, -1):
                folder = mount.joinpath(*parts[:depth])
                if folder not in seen and folder.is_dir():
                    seen.add(folder)
                    yield folder


def _hierarchies(root: Path, controller: str) -> Iterator[tuple[str, list[tuple[str, Path]]]]:
    """This process's path in version 2 and in the controller's version 1, and where each is
    mounted: which path is the mount's own root, and its folder.
    """
    usual = {"": [("/", root / _CGROUP)], controller: [("/", root / _CGROUP / controller)]}
    for line in text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        inside, mount = before.split()[3:5]
        kind, _, options = [*after.split(), "", "", ""][:3]
        name = {"cgroup2": "", "cgroup": controller}.get(kind)
        if name is not None and (name == "" or controller in options.split(",")):
            usual[name].append((inside, root / mount.lstrip("/")))
    paths = {"": "/", controller: "/"}
    for line in text(root / "proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "" or controller in names.split(","):
            paths["" if names == "" else controller] = path
    yield from ((path, usual[name]) for name, path in paths.items())


def _of_process(root: Path) -> Iterator[tuple[str, int, int]]:
    status = _kib_lines(root / "proc/self/status")
    for line in text(root / "proc/self/limits").splitlines():
        for label, (name, used) in _RLIMITS.items():
            soft = line.removeprefix(label).split()[:1] if line.startswith(label) else []
            if soft and soft[0].isdigit():
                yield name, int(soft[0]), int(soft[0]) - status.get(used, 0)
