"""A Slurm cluster on this host, of Debian's slurm-wlm: a controller and a slurmd for each node.

Two classes of fake devices: ``nv0`` has the feature b200, ``amd0`` has mi300x.
"""

import contextlib
import getpass
import os
import platform
import shutil
import socket
import stat
import subprocess
import time

import psutil

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scancel")
NODES = {"nv0": "b200", "amd0": "mi300x"}
CLASSES = {
    "nv": 'accelerator = "cuda"\nconstraint = "b200"\ngres = "gpu:b200"',
    "amd": 'accelerator = "rocm"\nconstraint = "mi300x"',
}
_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
_START_S = 30.0
_CONFIGURATION = """
ClusterName=alignmeter
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=5
SlurmdTimeout=10
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2,requeue_delay=0
{nodes}
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing():
    """Why no cluster can be started here; ``None`` if one can."""
    absent = [name for name in PROGRAMS if _program(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurm-wlm"
    if os.geteuid() != 0:
        return "a slurmd starts jobs of users, for which it has to be root"
    return None


def _program(name):
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *_FOLDERS]))


def _port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """Starts it; `stop` ends its daemons and what they started."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("state", *(f"spool.{name}" for name in NODES)):
            (folder / name).mkdir()
        for number in range(4):  # a gres is a device; these are as /dev/null
            os.mknod(folder / f"gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={platform.node()} NodeAddr=127.0.0.1 Port={_port()} "
            f"CPUs=4 RealMemory=1000 Feature={kind} Gres=gpu:{kind}:4"
            for name, kind in NODES.items()
        )
        (folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=platform.node(), controller=_port(), user=getpass.getuser(), folder=folder,
                nodes=nodes,
            )
        )  # fmt: skip
        (folder / "gres.conf").write_text(
            "".join(
                f"NodeName={name} Name=gpu Type={kind} File={folder}/gpu[0-3]\n"
                for name, kind in NODES.items()
            )
        )
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons = {}
        self._start("slurmctld", "slurmctld", "-D", "-c")
        for name in NODES:
            self.start_node(name)
        self._wait()

    def _start(self, key, program, *arguments):
        with (self.folder / f"{key}.log").open("ab") as log:
            self._daemons[key] = subprocess.Popen(
                [_program(program), *arguments], env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def start_node(self, name):
        self._start(name, "slurmd", "-D", "-N", name)

    def kill_node(self, name):
        """Its daemon and what it had started, as if its host went down; until that is noticed."""
        self._end(name, kill=True)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                found = process.environ()
                mine = found.get("SLURM_CONF") == self.environment["SLURM_CONF"]
                if mine and found.get("SLURMD_NODENAME") == name:
                    process.kill()
        while "down" not in self.ask("sinfo", "-h", "-n", name, "-o", "%T"):
            time.sleep(0.5)

    def busy(self):
        """Lines of the queue."""
        return self.ask("squeue", "-h").splitlines()

    def clear(self):
        """End what is left on it."""
        self.ask("scancel", "--state=PENDING", "--user", getpass.getuser())
        self.ask("scancel", "--user", getpass.getuser())
        end = time.monotonic() + _START_S
        while self.busy() and time.monotonic() < end:
            time.sleep(0.2)

    def _end(self, key, *, kill=False):
        daemon = self._daemons.pop(key)
        (daemon.kill if kill else daemon.terminate)()
        daemon.wait(timeout=30)

    def _wait(self):
        end = time.monotonic() + _START_S
        while self.ask("sinfo", "-h", "-t", "idle", "-N", "-o", "%N").split() != sorted(NODES):
            if time.monotonic() > end:
                logs = [p.read_text()[-1500:] for p in self.folder.glob("*.log")]
                self.stop()
                raise RuntimeError("\n".join(["the cluster does not come up:", *logs]))
            time.sleep(0.2)

    def ask(self, *command):
        """What a command of the cluster prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return done.stdout

    def stop(self):
        self.clear()
        for key in list(self._daemons):
            self._end(key)
