"""What is Ray's own, on a real cluster of two types of nodes on this host."""

import pytest
import ray_cluster
from lab_nights import NightOf, on_engines

from alignmeter.errors import InputError
from alignmeter.lab.engines import open_engine

pytestmark = on_engines("ray")


@pytest.mark.exhaustive
def test_a_job_waits_for_devices_of_others_as_long_as_they_have_them(
    engine, on_cluster, cells, place
):
    place.ask("/api/jobs/", {
        "entrypoint": f"sleep {ray_cluster.WAITS_S * 1.2}", "entrypoint_num_gpus": 1,
        "entrypoint_resources": {"accelerator_type:H100": 0.001},
    })  # fmt: skip
    one = NightOf(engine, on_cluster, cells[:1], nv=ray_cluster.CLASSES["nv"])
    assert one.driver().drive().complete
    assert len(list(one.night.jobs())) > 1  # Ray gave the first one up


@pytest.mark.full
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            'accelerator = "cuda"\nray = "accelerator_type:B200"',
            "ray is 'accelerator_type:B200'; did you mean|known: accelerator_type:H100, ",
        ),
        ('accelerator = "cpu"', 'ray is missing; name a resource, e.g. "host", of which'),
    ],
    ids=["absent", "missing"],
)
def test_a_class_that_does_not_exist_is_refused_with_those_that_do(engine, on_cluster, table, said):
    lab = on_cluster.lab(gpu=table)
    with pytest.raises(InputError, match=rf"\[class.gpu\]: {said}"):
        open_engine(engine, lab).check()
