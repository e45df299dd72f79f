"""Names of cells that stand together: what differs, and no two alike."""

import pytest
from msgspec.structs import replace

from alignmeter.cells.naming import Naming, digest_of


def names(*cells):
    naming = Naming(cells)
    return [naming.of(cell) for cell in cells]


@pytest.fixture
def one(make_cell):
    return make_cell(kernels="custom")


def test_a_cell_alone_is_its_method_model_and_mode(make_cell, one):
    assert names(one) == ["DPO llama full"]
    assert Naming([one]).shared == "tiny, T 16, B 2, synthetic"
    ppo = make_cell(method="ppo", peft="qlora", kernels="custom")
    assert names(ppo) == ["PPO llama QLoRA, separate, sequential"]


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"seq_len": 32}, ["DPO llama full, T 16", "DPO llama full, T 32"]),
        ({"batch": 4}, ["DPO llama full, B 2", "DPO llama full, B 4"]),
        ({"size": "130m"}, ["DPO llama tiny full", "DPO llama 130m full"]),
        ({"kernels": "stock"}, ["DPO llama full", "DPO llama full, stock kernels"]),
        ({"precision": "bf16"}, ["DPO llama full", "DPO llama full, bf16"]),
        ({"checkpointing": "on"}, ["DPO llama full", "DPO llama full, checkpointed"]),
        ({"prompt_len": 4}, ["DPO llama full", "DPO llama full, P 4"]),
        ({"data": "packaged"}, ["DPO llama full, synthetic", "DPO llama full"]),
        ({"lane": "tuned"}, ["DPO llama full", "DPO llama full, tuned"]),
        ({"deterministic": "on"}, ["DPO llama full", "DPO llama full, deterministic"]),
        ({"peft": "lora", "lora_rank": 8}, ["DPO llama full", "DPO llama LoRA, rank 8"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_whatever_differs_is_in_the_names(make_cell, one, axes, expected):
    """And what does not is in none of them."""
    assert names(one, make_cell(**{"kernels": "custom", **axes})) == expected


def test_no_two_names_are_alike(one):
    """Files of one name in two folders: their digests tell the cells apart."""
    cells = [
        replace(one, id=f"dpo-llama-{digest}", data=f"/{digest}/pairs.csv", data_digest=digest)
        for digest in ("aaaa", "bbbb")
    ]
    assert names(*cells) == ["DPO llama full, aaaa", "DPO llama full, bbbb"]


def test_a_cell_has_one_name_on_every_device(one):
    other = replace(one, id="x-1", accelerator="cuda", precision="bf16-mixed")
    assert names(one, other) == ["DPO llama full"] * 2


def test_what_stands_beside_a_name_is_left_out_of_it(make_cell, one):
    other = make_cell(kernels="stock")
    assert Naming([one, other]).of(other, without=("kernels",)) == "DPO llama full"


def test_a_cell_of_a_later_version_has_a_name(one):
    strange = replace(one, id="x-1", method="of_tomorrow", peft="half", optimizer="new")
    assert names(one, strange)[1].startswith("OF_TOMORROW llama half")


def test_the_digest_of_an_id_is_short_whatever_the_id(one):
    assert digest_of(one.id) == one.id[-8:]
    assert len(digest_of("x" * 1000)) == 12
