"""Distillation from a teacher of another size: what fits, what it is built of, what it teaches."""

import shutil

import pytest
import torch
from crossed import crossed
from saved_checkpoints import save
from wide_teachers import save_wide

from alignmeter.batches import open_batches
from alignmeter.cells.cell import as_teacher
from alignmeter.cells.labels import cell_text
from alignmeter.cells.matrix import expand, read_matrix, read_overrides
from alignmeter.cells.settings import Settings
from alignmeter.errors import InputError
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.distill import DistillSettings, DistillStep
from alignmeter.methods.losses.distill import divergence
from alignmeter.records.reference import reference_key
from alignmeter.registry import ARCHITECTURES
from alignmeter.session import Planned, measure
from alignmeter.session.resolve import resolve_cell
from alignmeter.session.time_limit import time_limit_s
from alignmeter.training.step import SilentProbe
from alignmeter.worker.agreement import sliced_layers

CPU = torch.device("cpu")
AXES = {"accelerator": "cpu", "data": "synthetic", "method": "distill", "seq_len": 16}


def distill(**axes):
    return resolve_cell({**AXES, **axes})


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Architecture -> a checkpoint of the tiny vocabulary, twice as wide."""
    root = tmp_path_factory.mktemp("wide")
    return {name: str(save_wide(root / name, name)) for name in ARCHITECTURES}


@pytest.mark.full
@pytest.mark.parametrize(
    *crossed(
        student=[("llama", 0.5), ("mamba", 0.95), ("mamba2", 0.95), ("hybrid", 0.8)],
        kernels=["stock", "custom"],
    )
)
def test_a_student_comes_nearer_to_a_wider_teacher(student, kernels, wide):
    """On text that neither wrote; a random Mamba is far from another one and comes slowly."""
    architecture, left = student
    cell = distill(architecture=architecture, teacher=wide[architecture], kernels=kernels).cell
    setup = open_setup(cell, CPU, seed=0)
    step = DistillStep(setup, DistillSettings(learning_rate=3e-3))
    assert step.teacher.config.hidden_size == 2 * step.policy.config.hidden_size == 384
    assert not any(p.requires_grad for p in step.teacher.parameters())
    saved = dict(step.teacher.named_parameters())
    read = DistillStep(open_setup(cell, CPU, seed=5), DistillSettings()).teacher
    for name, weight in read.named_parameters():  # those of the file, whatever the seed
        assert torch.equal(weight, saved[name])
    batch = open_batches(cell, vocab_size=512, seed=0).take(0, CPU, "chosen")

    def apart():
        with torch.no_grad():
            logits = [m(input_ids=batch.ids).logits for m in (step.policy, step.teacher)]
        return divergence(*logits, beta=1.0).mean().item()

    before = apart()
    for _ in range(12):
        step.run(batch, SilentProbe())
    assert apart() < left * before


def test_a_size_of_the_table_is_drawn(make_cell):
    """Not built here: 370 million weights. Its shape, its digest and its identity are."""
    cell = distill(size="130m", teacher="370m").cell
    alone = distill(size="370m").cell
    taught = as_teacher(cell)
    assert (taught.size, taught.model) == ("370m", "random")
    assert cell.teacher_digest == alone.model_digest != cell.model_digest
    assert cell.id.startswith("distill-llama-130m-full-cpu-t16-teacher-370m-synthetic-")
    assert "llama, 130m, full, teacher 370m, T 16" in cell_text(cell)
    assert as_teacher(alone) is alone
    assert as_teacher(make_cell(method="dpo")).teacher == "same"


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"teacher": "130m"}, "teacher 130m has 50280 token ids, the student 512: there is no"),
        ({"size": "8b", "teacher": "2.8b"}, "teacher 2.8b has 50280 token ids, the student 128256"),
        ({"teacher": "mamba"}, "is a mamba, not a llama"),
        ({"teacher": "small"}, "has 300 token ids, the student 512"),
        ({"model": "small"}, "the teacher's weights are drawn, and a checkpoint's would learn"),
        ({"model": "small", "teacher": "tiny"}, "give a checkpoint as teacher too, or measure"),
    ],
)
def test_a_teacher_of_another_kind_is_impossible(axes, words, wide, tmp_path):
    files = {"mamba": wide["mamba"], "small": str(tmp_path / "small")}
    save(tmp_path / "small", "llama")
    reason = distill(**{name: files.get(value, value) for name, value in axes.items()}).unsupported
    assert reason.code == "impossible"
    assert words in reason.text
    assert len(reason.text) - len(str(tmp_path)) < 300


def test_a_teacher_that_nobody_knows_is_refused():
    for value in ("13b", "nowhere"):
        with pytest.raises(InputError) as caught:
            read_overrides({"teacher": value})
        assert str(caught.value) == (
            f"--teacher: '{value}' is not a value of teacher; known: same, tiny, 130m, 370m, 1.4b, "
            "2.8b, 8b, or a checkpoint: a folder or organisation/name"
        )


def test_a_checkpoint_learns_from_a_checkpoint(tmp_path):
    student, teacher = save(tmp_path / "s"), save(tmp_path / "t", seed=8)
    axes = {"model": str(student), "teacher": str(teacher)}
    planned = distill(**axes)
    assert planned.unsupported is None
    step = open_method("distill").build(open_setup(planned.cell, CPU, seed=0))
    assert not torch.equal(next(step.policy.parameters()), next(step.teacher.parameters()))
    words = {f"w{n}": n for n in range(300)}
    _tokenizer(student, words)
    _tokenizer(teacher, words)
    assert distill(**axes).unsupported is None


def test_tokenizers_that_number_tokens_otherwise_are_impossible(tmp_path):
    student, teacher = save(tmp_path / "s"), save(tmp_path / "t", seed=8)
    _tokenizer(student, {f"w{n}": n for n in range(300)})
    _tokenizer(teacher, {f"w{299 - n}": n for n in range(300)})
    reason = distill(model=str(student), teacher=str(teacher)).unsupported
    assert reason.code == "impossible"
    assert "give tokens other ids; give a teacher of the student's vocabulary" in reason.text


def _tokenizer(folder, words):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(words, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=made, eos_token="w2").save_pretrained(folder)


def test_two_teachers_are_never_likened(tmp_path, wide):
    axes = {"size": "130m"}
    cell = distill(teacher=wide["llama"]).cell
    same = distill(teacher=shutil.copytree(wide["llama"], str(tmp_path / "wide"))).cell
    assert cell.teacher != same.teacher
    assert cell.without() == same.without()
    assert cell.id.rpartition("-")[2] == same.id.rpartition("-")[2]
    every = [cell, distill().cell, *(distill(**axes, teacher=t).cell for t in ("370m", "1.4b"))]

    def key(one):
        return reference_key(one, {}, seed=0, layers=None, rounded=False)

    for of in (lambda one: one.id, lambda one: one.without("size"), key):
        assert len(set(map(of, every))) == 4
    assert key(cell) == key(same)
    assert len({c.without("size", "teacher") for c in every}) == 1
    both = [distill(**axes, architecture=name, teacher="370m").cell for name in ("llama", "mamba")]
    assert both[0].teacher_digest != both[1].teacher_digest
    assert both[0].without("architecture") == both[1].without("architecture")


def test_a_large_teacher_is_checked_on_slices_and_given_time(make_cell):
    """1.4b has 1355 million weights. Of llama 1.4b two layers are drawn besides for the check."""
    small, large = (distill(size="130m", teacher=t).cell for t in ("370m", "1.4b"))
    assert (sliced_layers(small), sliced_layers(large)) == (None, 2)
    assert time_limit_s(small, Settings()) == 600
    alone = distill(size="1.4b").cell
    assert time_limit_s(large, Settings()) > time_limit_s(alone, Settings()) > 600


def test_a_matrix_names_it_from_its_own_folder(tmp_path, wide, monkeypatch):
    shutil.copytree(wide["llama"], tmp_path / "suite" / "big")
    (tmp_path / "suite" / "m.toml").write_text(
        'schema = 1\n[[grid]]\nmethod = "distill"\naccelerator = "cpu"\nteacher = ["same", "big"]\n'
    )
    monkeypatch.chdir(tmp_path)
    choices = expand(read_matrix("suite/m.toml"), {})
    cells = [resolve_cell(choice.axes).cell for choice in choices]
    assert [cell.teacher for cell in cells] == ["same", "big"]
    assert as_teacher(cells[1]).size == "checkpoint"


@pytest.mark.exhaustive
def test_a_record_says_whom_it_learnt_from(wide, launcher, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = distill(teacher=wide["mamba2"], architecture="mamba2").cell
    plan = Planned(cell=cell, unsupported=None)
    record = measure(plan, 0, Settings(steps=3, sample_hz=0), launcher).record
    assert (record.status, record.reason) == ("ok", None)
    assert record.numerics.agrees is True
    assert record.cell.teacher_digest == cell.teacher_digest
    ledger = record.ledger
    assert ledger["teacher_weights_bytes"] > 3 * ledger["policy_weights_bytes"] > 0
