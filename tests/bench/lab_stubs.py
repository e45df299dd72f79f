"""A lab for tests: a stub of the command, which writes records of no cells, and a file of classes.

It imports nothing but the standard library, so that hundreds of cells take seconds.
"""

import json
import sys

from alignmeter.cells.settings import Settings
from alignmeter.lab.engines.local import Local
from alignmeter.lab.lab_file import read_lab
from alignmeter.lab.planned import ClassPlan
from alignmeter.lab.submission import Night, NightPlan
from alignmeter.records.record import encode_record

COMMAND = r'''#!%(python)s -S
"""alignmeter cell --jobs FILE, and devices --json, without measuring."""
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
said = json.loads((here / "stub.json").read_text())
if sys.argv[1] == "devices":
    print(json.dumps(said["devices"]))
    raise SystemExit
path = pathlib.Path(sys.argv[3])
job = json.loads(path.read_text())
device = os.environ.get("CUDA_VISIBLE_DEVICES", "")
if os.environ.get("RANK", "0") != "0":
    with open(here / "served.txt", "a") as log:
        log.write(" ".join((path.stem, os.environ["WORLD_SIZE"], os.environ["MASTER_PORT"])) + "\n")
    raise SystemExit
outcome = {"host": os.environ.get("ALIGNMETER_NODE") or "here" + device, "pid": os.getpid(),
           "began": time.time(), "seen": time.time(), "ended": None, "refused": [], "failed": {},
           "stopped": False, "schema_version": 1}
def note(**found):
    outcome.update(found, seen=time.time())
    partial = path.with_suffix(".partial-%%d" %% os.getpid())
    partial.write_text(json.dumps(outcome))
    partial.replace(path.with_suffix(".outcome"))
note()
if outcome["host"] in said["refusing"]:
    note(refused=["idle: 4 GiB of cuda:0 are in use"], ended=time.time())
    raise SystemExit(3)
out = pathlib.Path(job["out"])
out.mkdir(parents=True, exist_ok=True)
log = open(here / "measured.txt", "a")
for task in job["tasks"]:
    if job["until"] is not None and time.time() >= job["until"]:
        note(stopped=True, ended=time.time())
        break
    name = "%%s.r%%d" %% (task["cell"]["id"], task["replicate"])
    if (out / (name + ".json")).exists():
        continue
    if said["killed_by"] and task["cell"]["method"] == said["killed_by"]:
        os.kill(os.getpid(), 9)
    time.sleep(said["seconds"])
    record = json.loads((here / "record.json").read_text())
    record["cell"], record["replicate"] = task["cell"], task["replicate"]
    began = time.strftime("%%Y-%%m-%%dT%%H:%%M:%%S+00:00", time.gmtime())
    record["provenance"].update(run=job["run"], started=began)
    if said["busy"] and task["replicate"] == 0:
        reason = {"code": "host_loaded", "text": "busy"}
        record["validity"]["time"] = {"ok": False, "reasons": [reason]}
    (out / (name + ".partial")).write_text(json.dumps(record))
    (out / (name + ".partial")).replace(out / (name + ".json"))
    log.write("%%s %%s %%s\n" %% (job["node_class"], name, device))
    log.flush()
    note()
note(ended=time.time())
'''


def device_row(accelerator, count):
    """As of `alignmeter devices --json`; none here if ``count`` is 0."""
    missing = None if count else "there is none"
    return {"accelerator": accelerator, "torch_missing": missing, "torch_devices": count}


class StubLab:
    """A folder with a stub of the command, a LAB.toml of its classes, and a night of it."""

    def __init__(self, folder, record):
        self.folder = folder
        self.command = folder / "alignmeter"
        self.command.write_text(COMMAND % {"python": sys.executable})
        self.command.chmod(0o755)
        (folder / "record.json").write_bytes(encode_record(record))
        self.says()

    def says(self, *, devices=(("cpu", 1),), seconds=0.0, refusing=(), killed_by="", busy=False):
        """What the stub does from here on. ``refusing``: hosts, ``hereN`` on this one."""
        said = {
            "devices": [device_row(*row) for row in devices],
            "seconds": seconds,
            "refusing": list(refusing),
            "killed_by": killed_by,
            "busy": busy,
        }
        (self.folder / "stub.json").write_text(json.dumps(said))

    def lab(self, text="", **classes):
        """The lab of these classes: name -> more lines of its table."""
        lines = ["schema = 1", 'matrix = "quick"', text]
        for name, more in classes.items():
            lines += [f"[class.{name}]", f'command = ["{self.command}"]', more]
        path = self.folder / "LAB.toml"
        path.write_text("\n".join(lines) + "\n")
        return read_lab(path)

    def night(self, lab, cells, *, engine=Local.name):
        """A night, and its plan: the same cells for each class."""
        found = ClassPlan(cells=cells, settings=Settings(), folder=str(self.folder))
        plan = NightPlan(
            lab=lab.where, engine=engine, run="n1", replicates=lab.replicates,
            retries=lab.retries, classes=dict.fromkeys(lab.classes, found),
        )  # fmt: skip
        night = Night(lab.out / "n1")
        night.write_plan(plan)
        return night, plan

    def served(self):
        """(job, machines, port) of each process that was another machine of its job."""
        path = self.folder / "served.txt"
        return [tuple(line.split(" ")) for line in path.read_text().splitlines()]

    def measured(self):
        """(class, stem of the record, device) in the order in which they were."""
        path = self.folder / "measured.txt"
        return [tuple(line.split(" ")) for line in path.read_text().splitlines()]
