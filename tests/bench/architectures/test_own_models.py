"""A model's config alone: whose it is, what is drawn of it, and what is refused in one sentence."""

import json
import shutil
from pathlib import Path

import families
import pytest
import torch
from crossed import thinned
from transformers import BertConfig, Gemma3Config, T5Config

from alignmeter.accelerators.provenance import installed_versions
from alignmeter.architectures import architecture_of
from alignmeter.architectures.checkpoint import configs_alone, find_checkpoint, trial
from alignmeter.cells.matrix import read_matrix
from alignmeter.errors import InputError
from alignmeter.peft.tuner_layers import tuner_layers
from alignmeter.registry import ARCHITECTURES, METHODS
from alignmeter.session import Settings, measure, plan_matrix
from alignmeter.session.resolve import resolve_cell
from alignmeter.streams import quiet
from alignmeter.training.logprobs import response_logprobs
from alignmeter.training.setup import open_setup

pytestmark = pytest.mark.usefixtures("afresh")
CPU = torch.device("cpu")
SCALED = ("Gemma 2", "Granite", "Command R7B", "Falcon-H1")
OWN = {"accelerator": "cpu", "data": "synthetic", "seq_len": 16}


def refusal(model):
    with pytest.raises(InputError) as caught:
        find_checkpoint(str(model))
    text = str(caught.value).replace(str(model), "m")
    assert "\n" not in text
    assert len(text) <= 300
    return text


def state(model, seed):
    return find_checkpoint(model).build(dtype=torch.float32, seed=seed).state_dict()


def test_a_file_and_a_folder_with_a_config_alone_are_one_model(tmp_path, saved):
    whole = saved()
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(whole / "config.json", folder)
    file = shutil.copy(whole / "config.json", tmp_path / "named.json")
    alone, named, read = (find_checkpoint(str(m)) for m in (folder, file, whole))
    assert alone.drawn
    assert named.drawn
    assert not read.drawn
    assert alone.digest == named.digest != read.digest
    assert (alone.parameters, alone.layers) == (read.parameters, read.layers)
    cells = [resolve_cell({**OWN, "model": str(m)}).cell for m in (folder, whole)]
    assert cells[0].model_digest != cells[1].model_digest
    assert cells[0].without() != cells[1].without()
    assert cells[0].id != cells[1].id


def test_the_config_of_a_whole_checkpoint_given_as_a_file_is_not_that_checkpoint(saved):
    assert find_checkpoint(str(saved() / "config.json")).drawn


def test_weights_are_drawn_from_the_seed(tmp_path):
    model = families.config_file(tmp_path, "Jamba")
    one, same, other = (state(model, seed) for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_policy_and_reward_model_of_a_config_differ(tmp_path):
    """With a checkpoint's weights they are one."""
    cell = resolve_cell(
        {**OWN, "method": "ppo", "model": families.config_file(tmp_path, "OLMo-2")}
    ).cell
    setup = open_setup(cell, CPU, seed=0)
    policy, reward, ref = setup.policy(), setup.reward(), setup.ref()
    weight = policy.base_model.layers[0].mlp.up_proj.weight
    assert torch.equal(weight, ref.base_model.layers[0].mlp.up_proj.weight)
    assert not torch.equal(weight, reward.backbone.layers[0].mlp.up_proj.weight)


@pytest.mark.full
def test_a_record_says_that_weights_were_drawn(tmp_path, launcher):
    planned = resolve_cell({**OWN, "model": families.config_file(tmp_path, "Bamba")})
    record = measure(planned, 0, Settings(steps=3, warmup=1, timeout_s=120), launcher).record
    assert record.status == "ok"
    assert [note.code for note in record.notes] == ["weights_drawn"]
    assert "config without weights" in record.notes[0].text
    assert record.provenance.weights_drawn_on == "cpu"
    assert record.numerics.agrees
    assert record.provenance.kernel_path["ssd_scan"]


@pytest.mark.parametrize("family", thinned(families.CONFIGS, every=4))
def test_every_family_is_built_cut_and_drawn_where_it_is_to_be(family, tmp_path):
    """As a reference cuts it, and as a GPU draws it."""
    found = find_checkpoint(families.config_file(tmp_path, family))
    ids = torch.randint(3, 500, (2, 8))
    cut = found.build(dtype=torch.float32, layers=2)
    assert cut.config.num_hidden_layers == 2
    cut(input_ids=ids, use_cache=False)
    there = found.build_there(seed=0, dtype=torch.bfloat16, device=CPU, store=lambda part: part)
    assert {weight.dtype for weight in there.parameters()} == {torch.bfloat16}
    assert sum(weight.numel() for weight in there.parameters()) == found.parameters
    assert there(input_ids=ids, use_cache=False).logits.isfinite().all()


@pytest.mark.parametrize("family", thinned(families.CONFIGS, every=4))
def test_every_familys_checkpoint_is_read_as_it_was_saved(family, tmp_path):
    drawn = find_checkpoint(families.config_file(tmp_path, family))
    model = drawn.build(dtype=torch.float32, seed=5)
    with quiet():
        model.save_pretrained(tmp_path / "saved")
    found = find_checkpoint(str(tmp_path / "saved"))
    assert found.architecture == drawn.architecture
    assert found.digest != drawn.digest
    read = found.build(dtype=torch.float32).state_dict()
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(weight, read[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("family", thinned(families.CONFIGS, every=4))
def test_log_probs_are_those_of_the_models_own_logits(family, tmp_path):
    """Scaled and capped ones too, by both kernels where both know them."""
    found = find_checkpoint(families.config_file(tmp_path, family))
    model = found.build(dtype=torch.float32).eval()
    # Wide states: a cap bends what is near it.
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(40)
    ids = torch.randint(3, 500, (2, 12))
    logits = model(input_ids=ids, use_cache=False).logits[:, 3:-1].float()
    wanted = logits.log_softmax(-1).gather(-1, ids[:, 4:, None])[..., 0]
    for kernels in ("stock", "custom"):
        if kernels == "stock" or found.family.stock_only is None:
            got = response_logprobs(model, ids, 4, kernels=kernels)
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    if family in SCALED:
        head, hidden = model.get_output_embeddings(), model.base_model(ids).last_hidden_state
        plain = head(hidden)[:, 3:-1].log_softmax(-1).gather(-1, ids[:, 4:, None])[..., 0]
        assert (plain - wanted).abs().max() > 0.01


def test_a_stray_field_scales_nothing(saved, tmp_path):
    """transformers keeps fields that a family does not have."""
    folder = shutil.copytree(saved(), tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"final_logit_softcapping": 0.1, "logits_scaling": 8.0, "logit_scale": 0.1}
    (folder / "config.json").write_text(json.dumps(config))
    one, other = (find_checkpoint(str(f)).build(dtype=torch.float32) for f in (saved(), folder))
    ids = torch.randint(3, 300, (2, 8))
    assert torch.equal(response_logprobs(one, ids, 4), response_logprobs(other, ids, 4))


@pytest.mark.parametrize("family", ["Falcon-Mamba", "Jamba", "Zamba2", "Bamba", "Nemotron-H"])
def test_this_projects_scans_run_in_other_families_and_agree(family, tmp_path):
    model = families.config_file(tmp_path, family)
    states = {}
    for kernels in ("custom", "stock"):
        cell = resolve_cell({**OWN, "model": model, "kernels": kernels}).cell
        assert architecture_of(cell).operators
        policy = open_setup(cell, CPU, seed=0).policy().eval()
        ids = torch.arange(3, 35).view(2, 16)
        states[kernels] = policy.base_model(input_ids=ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(states["custom"], states["stock"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", thinned(families.CONFIGS, every=4))
def test_exactly_the_layers_that_are_named_are_adapted(family, tmp_path):
    """peft gives some names another meaning in some families."""
    planned = resolve_cell({**OWN, "model": families.config_file(tmp_path, family), "peft": "lora"})
    if planned.unsupported is not None:
        pytest.skip(planned.unsupported.text)
    policy = open_setup(planned.cell, CPU, seed=0).policy()
    layers = {name for name, module in policy.named_modules() if module in tuner_layers(policy)}
    targets = architecture_of(planned.cell).lora_targets
    assert {name.rpartition(".")[2] for name in layers} == set(targets)
    assert all("lora" in name for name, p in policy.named_parameters() if p.requires_grad)


def test_dropout_of_every_name_is_off_and_known(tmp_path):
    model = families.config_file(tmp_path, "Phi-2")
    found = find_checkpoint(model)
    assert found.dropout == {"resid_pdrop": 0.1}
    built = found.build(dtype=torch.float32).train()
    ids = torch.randint(3, 500, (2, 8))
    with torch.no_grad():
        assert torch.equal(*(built(input_ids=ids, use_cache=False).logits for _ in range(2)))


def unsupported(folder, family, **axes):
    planned = resolve_cell({**OWN, "model": families.config_file(folder, family), **axes})
    assert planned.unsupported.code == "impossible"
    return planned.unsupported.text


def test_what_layers_do_not_take_is_said_in_one_sentence(tmp_path):
    said = {
        unsupported(tmp_path, "GPT-2", peft="lora"): "gpt2 has no linear layers",
        unsupported(tmp_path, "Mixtral", peft="qlora"): "experts in one tensor (MixtralExperts)",
        unsupported(tmp_path, "Gemma 2", kernels="custom"): "caps its logits at 30",
        unsupported(tmp_path, "Phi-2", kernels="custom"): "output head with a bias",
        unsupported(tmp_path, "OLMo-2", batching="packed"): "packed rows are tried with llama",
        unsupported(tmp_path, "OLMo-2", method="grpo", rollout="static"): "use eager",
        unsupported(tmp_path, "OLMo-2", architecture="llama"): "is a olmo2, not a llama",
    }
    for text, words in said.items():
        assert words in text
        assert len(text) <= 300


def test_the_default_kernels_are_those_that_know_the_model(tmp_path):
    for family, kernels in (("Gemma 2", "stock"), ("Gemma 3", "custom"), ("Granite", "custom")):
        model = families.config_file(tmp_path, family)
        assert resolve_cell({**OWN, "model": model}).cell.kernels == kernels


def test_what_is_no_language_model_is_refused(tmp_path):
    for config, words in (
        (Gemma3Config(), "a gemma3 is more than a language model; give its text_config"),
        (T5Config(), "model_type is 't5', of which transformers"),
    ):
        file = tmp_path / f"{config.model_type}.json"
        file.write_text(config.to_json_string(use_diff=False))
        assert words in refusal(file)
    assert installed_versions()["transformers"] in refusal(tmp_path / "t5.json")


def test_a_model_that_sees_what_comes_is_refused(tmp_path):
    (tmp_path / "bert.json").write_text(BertConfig().to_json_string(use_diff=False))
    assert "a bert is no decoder" in refusal(tmp_path / "bert.json")


def test_logits_that_nobody_repeats_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "operators_after_head", lambda _: ())
    text = refusal(families.config_file(tmp_path, "Gemma 2"))
    assert "changes its output head (div, tanh, mul)" in text


def test_a_config_that_makes_no_model_is_refused(tmp_path):
    for family, fields in (
        ("OLMo-2", {"num_hidden_layers": 5000}),
        ("Bamba", {"num_hidden_layers": 10**9}),
        ("GPT-2", {"n_layer": 10**9}),
        ("Jamba", {"num_attention_heads": 0}),
        ("Gemma 3", {"layer_types": ["dragon", "dragon"]}),
        ("Mixtral", {"hidden_size": 2**30}),
    ):
        file = Path(families.config_file(tmp_path, family))
        config = json.loads(file.read_text()) | fields
        file.write_text(json.dumps(config))
        text = refusal(file)
        assert next(iter(fields)) in text or "dragon" in text, text


def test_a_file_that_is_no_config_is_refused(tmp_path):
    (tmp_path / "m.txt").write_text("{}")
    assert "a file, but no .json" in refusal(tmp_path / "m.txt")
    (tmp_path / "m.json").write_text("{}")
    assert "no model_type" in refusal(tmp_path / "m.json")


@pytest.fixture
def hub(saved, tmp_path, monkeypatch):
    """The real hub client on a cache as it lays one out, offline: one model's config alone."""
    import huggingface_hub.constants as constants

    store = tmp_path / "models--lab--bare"
    (store / "refs").mkdir(parents=True)
    (store / "refs" / "main").write_text("c0ffee")
    folder = store / "snapshots" / "c0ffee"
    folder.mkdir(parents=True)
    shutil.copy(saved() / "config.json", folder)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def test_a_plan_needs_no_more_of_a_hub_than_the_config(hub):
    with configs_alone():
        assert find_checkpoint("lab/bare").drawn
        text = refusal("lab/other")
    assert "no such file or folder, and the hub cannot be reached from here" in text


def test_a_plan_takes_weights_that_were_fetched_before(hub, saved):
    shutil.copy(saved() / "model.safetensors", hub)
    with configs_alone():
        assert not find_checkpoint("lab/bare").drawn


def test_a_run_never_draws_what_the_hub_has(hub):
    assert "has a config.json and no weights; fetch them" in refusal("lab/bare")


def test_a_matrix_gives_way_to_the_models_own_architecture(tmp_path):
    model = families.config_file(tmp_path, "OLMo-2")
    flags = {"model": [model], "accelerator": ["cpu"], "data": ["synthetic"]}
    cells = plan_matrix(read_matrix("plan"), flags, lambda _: None)
    assert {item.cell.architecture for item in cells} == {"olmo2"}
    assert len({item.cell.id for item in cells}) == len(cells) >= 9
    assert all(item.unsupported is None for item in cells)
    asked = plan_matrix(read_matrix("plan"), {**flags, "architecture": ["mamba"]}, lambda _: None)
    assert all("is a olmo2, not a mamba" in item.unsupported.text for item in asked)


def test_names_of_families_are_no_methods_and_no_architectures():
    assert not {"olmo2", "mixtral"} & {*ARCHITECTURES, *METHODS}


def test_the_table_of_models_is_todays():
    """If this fails: python tests/trust/families.py > docs/models.md"""
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    version = installed_versions()["transformers"]
    if f"made with transformers {version}." not in page:
        pytest.skip(f"the page is of another transformers than {version}")
    assert page == families.page()
