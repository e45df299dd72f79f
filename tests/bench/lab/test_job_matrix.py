"""`alignmeter lab matrix`: a job per class, for runners of one's own and for Kubernetes."""

import importlib.util
import json

import pytest

from alignmeter.errors import InputError
from alignmeter.lab.job_matrix import job_matrix
from alignmeter.lab.lab_file import read_lab

HEAD = 'schema = 1\nmatrix = "quick"\n'
TABLE = '[class.a]\naccelerator = "cpu"\n'
PODS = """
[class.a.kubernetes]
image = "registry.example/alignmeter:1"
claim = "lab"
"""
NO_CLIENT = "no client of Kubernetes: pip install 'kubernetes>=37'"


@pytest.fixture
def read(tmp_path):
    def reading(text):
        path = tmp_path / "LAB.toml"
        path.write_text(text)
        return read_lab(path)

    return reading


def jobs(lab, night="n1"):
    """Class -> its Job."""
    document = json.loads(job_matrix(lab, "kubernetes", night))
    assert (document["apiVersion"], document["kind"]) == ("v1", "List")
    return {job["metadata"]["labels"]["alignmeter/class"]: job for job in document["items"]}


def container_of(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


def test_a_job_per_class_for_runners_of_ones_own(read):
    text = f'{HEAD}{TABLE}runner = ["self-hosted", "b200"]\n'
    lab = read(text)
    (entry,) = json.loads(job_matrix(lab, "github", "n1"))["include"]
    assert entry["runs_on"] == ["self-hosted", "b200"]
    assert entry["command"].endswith("LAB.toml --engine local --night n1 --class a")
    pipeline = json.loads(job_matrix(lab, "gitlab", "n1"))
    assert pipeline["measure a"]["tags"] == ["self-hosted", "b200"]
    assert pipeline["measure a"]["script"] == [entry["command"]]
    with pytest.raises(InputError, match=r"\[class.a\]: runner is missing"):
        job_matrix(read(HEAD + TABLE), "github", "n1")


VENDORS = HEAD + "".join(
    f'[class.{name}]\naccelerator = "{name}"\n{PODS.replace("class.a", f"class.{name}")}{more}'
    for name, more in {
        "cuda": 'limits = { "nvidia.com/gpu" = "8", memory = "64Gi" }\n'
        'node_selector = { "nvidia.com/gpu.product" = "NVIDIA-B200" }\n',
        "rocm": "[class.rocm.environment]\nHSA_NO_SCRATCH_RECLAIM = '1'\nASIS = '$(HOME) $$'\n",
        "xpu": 'limits = { "gpu.intel.com/xe" = "2" }\n',
        "cpu": "",
    }.items()
)


def test_a_job_of_kubernetes_asks_for_devices_as_their_vendor_calls_them(read):
    found = jobs(read(VENDORS))
    limits = {name: container_of(job)["resources"]["limits"] for name, job in found.items()}
    assert limits == {
        "cuda": {"nvidia.com/gpu": "8", "memory": "64Gi"},
        "rocm": {"amd.com/gpu": "1"},
        "xpu": {"gpu.intel.com/xe": "2"},
        "cpu": {},
    }
    pod = found["cuda"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-B200"}
    variables = container_of(found["rocm"])["env"]
    assert {"name": "HSA_NO_SCRATCH_RECLAIM", "value": "1"} in variables
    # What Kubernetes makes of it is what the file has.
    assert {"name": "ASIS", "value": "$$(HOME) $$$$"} in variables


def test_a_job_of_kubernetes_runs_its_class_where_the_claim_is(read):
    (job,) = jobs(read(HEAD + TABLE + PODS)).values()
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == ("batch/v1", "Job", "a-n1")
    container = container_of(job)
    assert container["image"] == "registry.example/alignmeter:1"
    assert " ".join(container["command"]) == (
        "alignmeter lab run /lab/LAB.toml --engine local --night n1 --class a --this-python"
    )
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in job["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {m["mountPath"]: claims.get(m["name"]) for m in container["volumeMounts"]}
    assert mounts == {"/lab": "lab", "/dev/shm": None}  # noqa: S108 - of the container


def test_a_name_in_kubernetes_has_small_letters_and_63_at_most(read):
    text = (HEAD + TABLE + PODS).replace("class.a", "class.A_b-")
    (job,) = jobs(read(text), "N" * 60 + "..").values()
    assert job["metadata"]["name"] == f"a-b--{'n' * 58}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + TABLE, r"\[class.a.kubernetes\]: image is missing; name an image that has alig"),
        (
            f'{HEAD}{TABLE}kubernetes = {{image = "x"}}',
            r"\[class.a.kubernetes\]: claim is missing; name the PersistentVolumeClaim",
        ),
        (f'{HEAD}out = "/srv/x"\n{TABLE}{PODS}', "out is '/srv/x'; give a folder beside the"),
        (
            HEAD + TABLE + PODS + (TABLE + PODS).replace("class.a", "class.A"),
            "two classes have one name in Kubernetes",
        ),
    ],
)
def test_what_kubernetes_needs_is_named(read, text, said):
    with pytest.raises(InputError, match=said):
        job_matrix(read(text), "kubernetes", "n1")


@pytest.mark.parametrize("form", ["github", "gitlab", "kubernetes"])
def test_a_class_of_several_nodes_is_no_job_of_one(form, read):
    with pytest.raises(InputError, match=r"\[class.a\]: nodes is 2, and the local engine starts"):
        job_matrix(read(f"{HEAD}{TABLE}nodes = 2"), form, "n1")


@pytest.mark.full
@pytest.mark.skipif(importlib.util.find_spec("kubernetes") is None, reason=NO_CLIENT)
def test_jobs_are_what_the_client_of_kubernetes_knows(read):
    """Its models are made from the schema of Kubernetes, and refuse what is not in it."""
    from kubernetes.client import V1Job

    for job in jobs(read(VENDORS)).values():
        V1Job.model_validate(job)
        job["spec"]["template"]["spec"]["container"] = []
        with pytest.raises(ValueError, match=r"spec\.container"):
            V1Job.model_validate(job)
