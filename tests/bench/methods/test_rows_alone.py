"""Rows of their own lengths give what each gives alone: log-probs, scores, losses, samples."""

import pytest
import torch
from crossed import thinned

from alignmeter.architectures.packing import Packed, last_hidden
from alignmeter.batches import open_batches
from alignmeter.methods import open_method, open_setup
from alignmeter.methods.kto import mismatched
from alignmeter.registry import ARCHITECTURES, METHODS
from alignmeter.session.resolve import resolve_cell
from alignmeter.training.logprobs import response_logprobs, scored
from alignmeter.training.rollout import Asked, rollout
from alignmeter.training.sampling import sampled_outcome
from alignmeter.training.step import SilentProbe

CPU = torch.device("cpu")
LAYOUTS = [
    (architecture, batching)
    for architecture, row in ARCHITECTURES.items()
    for batching in ("padded", "bucketed", "packed")
    if row.packs or batching != "packed"
]
SAMPLING = [name for name, row in METHODS.items() if row.rollouts]


def cell_of(**axes):
    found = resolve_cell({"accelerator": "cpu", "data": "lengths:hh", "seq_len": 96, **axes})
    assert found.unsupported is None
    return found.cell


def opened(**axes):
    cell = cell_of(**axes)
    return open_setup(cell, CPU, seed=0), open_batches(cell, vocab_size=512, seed=0)


def ragged(source, rows="pairs"):
    """The first batch whose rows have several lengths."""
    batches = (source.take(step, CPU, rows) for step in range(99))
    return next(batch for batch in batches if len(set(batch.spans.lengths)) > 2)


N = 16


def prompted(source, rows):
    """The first batch whose prompts have several lengths."""
    batches = (source.take(step, CPU, rows) for step in range(99))
    return next(batch for batch in batches if len(set(batch.spans.prompts)) > 2)


def sampling(**axes):
    """Prompts of up to 112 tokens, responses of N."""
    return opened(**{"method": "grpo", "batch": 3, "seq_len": 112 + N, "prompt_len": 112, **axes})


@pytest.mark.parametrize("kernels", ["custom", "stock"])
@pytest.mark.parametrize(("architecture", "batching"), LAYOUTS)
def test_log_probs_are_those_of_a_row_alone(architecture, batching, kernels):
    """Alone a row is as in a fixed cell: its own prompt, no padding."""
    setup, source = opened(architecture=architecture, batching=batching, kernels=kernels, batch=3)
    policy, batch = setup.policy(), ragged(source)
    found = response_logprobs(policy, batch.ids, batch.where, kernels=kernels)
    for row, (prompt, length) in enumerate(
        zip(batch.spans.prompts, batch.spans.lengths, strict=True)
    ):
        alone = response_logprobs(
            policy, batch.ids[row : row + 1, :length], prompt, kernels=kernels
        )
        mine = found[row][batch.response_mask[row].bool()]
        assert mine.tolist() == pytest.approx(alone[0].tolist(), rel=1e-6, abs=2e-6)


@pytest.mark.parametrize("peft", ["full", "lora"])
@pytest.mark.parametrize("batching", ["padded", "packed"])
def test_scores_are_those_of_a_row_alone(batching, peft):
    setup, source = opened(batching=batching, batch=3, method="rm", peft=peft)
    model, batch = setup.trained_reward(), ragged(source)
    found = scored(model, batch.ids, batch.where).gather(1, batch.last_token.unsqueeze(1))
    alone = [
        model(batch.ids[row : row + 1, :length])[0, -1].item()
        for row, length in enumerate(batch.spans.lengths)
    ]
    assert found.squeeze(1).tolist() == pytest.approx(alone, abs=2e-6)


def losses(method, batching):
    """Of three steps on the rows of the same batches."""
    axes = {"seq_len": 96, "prompt_len": 88} if method in SAMPLING else {"seq_len": 64}
    setup, source = opened(method=method, batching=batching, batch=3, **axes)
    built, rows = open_method(method), open_method(method).rows
    step = built.build(setup)
    return [step.run(source.take(i, CPU, rows), SilentProbe()).loss.item() for i in range(3)]


@pytest.mark.full
@pytest.mark.parametrize("method", thinned(METHODS, every=2))
def test_packed_steps_learn_what_padded_ones_do(method):
    assert losses(method, "packed") == pytest.approx(losses(method, "padded"), abs=2e-5)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in SAMPLING])
def test_padding_reaches_no_loss(method):
    """Other padding and more of it: the same loss."""
    from dataclasses import replace

    setup, source = opened(method=method, batching="padded", batch=3)
    built = open_method(method)
    batch = ragged(source, built.rows)
    there = torch.arange(batch.ids.shape[1]) < batch.spans.stops.unsqueeze(1)
    ids = torch.where(there, batch.ids, 77)
    ids = torch.cat([ids, torch.full((len(ids), 5), 78)], dim=1)

    def loss(of):
        return built.build(setup).run(of, SilentProbe()).loss.item()

    assert loss(replace(batch, ids=ids)) == pytest.approx(loss(batch), abs=1e-6)


def test_orpo_counts_every_token_but_the_first():
    from alignmeter.methods.orpo import _real

    batch = ragged(opened(method="orpo", batching="padded", batch=3)[1])
    assert _real(batch).sum(1).tolist() == [length - 1 for length in batch.spans.lengths]


@pytest.mark.parametrize("batching", ["padded", "packed"])
def test_mismatched_rows_are_a_prompt_and_the_response_before(batching):
    """Cut to T, as every row is."""
    source = opened(method="kto", batching=batching, batch=3, seq_len=64, prompt_len=32)[1]
    batch = ragged(source, "unpaired")
    ids, mask, where = mismatched(batch, 64)
    prompts, lengths = batch.spans.prompts, batch.spans.lengths
    for row in range(len(ids)):
        response = batch.ids[row - 1, prompts[row - 1] : lengths[row - 1]].tolist()
        wanted = (batch.ids[row, : prompts[row]].tolist() + response)[:64]
        assert ids[row, : where.lengths[row]].tolist() == wanted
        assert mask[row].sum() == len(wanted) - prompts[row]
    assert (where.packed is not None) == (batching == "packed")


@pytest.mark.parametrize("architecture", [n for n, row in ARCHITECTURES.items() if not row.packs])
def test_a_state_space_model_carries_one_row_into_the_next(architecture):
    """Why it is not packed: the second row's states are off by more than 1 % of their size, and the
    first row's are not.
    """
    planned = resolve_cell(
        {"accelerator": "cpu", "architecture": architecture, "batching": "packed"}
    )
    assert planned.unsupported.code == "impossible"
    assert "would carry one answer's state into the next" in planned.unsupported.text
    backbone = opened(architecture=architecture, batching="padded")[0].policy().base_model
    ids = torch.randint(3, 500, (2, 12), generator=torch.Generator().manual_seed(0))
    packed = Packed.of([12, 12], 12, CPU)
    states = backbone(input_ids=ids.flatten()[None], use_cache=False).last_hidden_state[0]
    alone = last_hidden(backbone, ids).flatten(0, 1)
    off = (states - alone).norm(dim=1) / alone.norm(dim=1)
    assert off[:12].max() < 1e-5
    assert off[12] > 0.01
    assert packed.positions[0].tolist() == [*range(12), *range(12)]


def test_without_its_mask_llama_would_see_the_row_before():
    """The test above can fail: with positions alone and a cache the second row sees the first."""
    backbone = opened(batching="packed")[0].policy().base_model
    ids = torch.randint(3, 500, (2, 12), generator=torch.Generator().manual_seed(0))
    packed, alone = Packed.of([12, 12], 12, CPU), last_hidden(backbone, ids)
    assert torch.allclose(last_hidden(backbone, ids, packed), alone, atol=1e-5)
    cached = backbone(
        input_ids=ids.flatten()[None], position_ids=packed.positions, use_cache=True
    ).last_hidden_state.view_as(alone)
    assert (cached - alone)[1].norm() / alone[1].norm() > 0.01


@pytest.mark.parametrize("architecture", thinned(ARCHITECTURES, every=3))
def test_a_rollout_of_several_prompts_is_that_of_each_alone(architecture):
    """With logits that leave nothing to chance, rows of any length go on as they would alone."""
    setup, source = sampling(architecture=architecture, batching="padded")
    policy, batch = setup.policy(), prompted(source, "groups")
    with torch.no_grad():
        policy.get_output_embeddings().weight.mul_(1e4)
    step = open_method("grpo").build(setup)
    ids = step._sampling.sample(policy, batch, SilentProbe())
    assert ids.shape[1] == max(batch.spans.prompts) + N
    for row, prompt in enumerate(batch.spans.prompts):
        asked = Asked(
            prompts=batch.ids[row : row + 1, :prompt], new_tokens=N,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        alone = rollout(policy, asked, SilentProbe())
        assert ids[row, : prompt + N].tolist() == alone[0].tolist()


@pytest.mark.parametrize("batching", ["padded", "packed"])
def test_tokens_of_a_rollout_are_counted_truly(batching):
    """Each row has 16 tokens of its own after its prompt; what is decoded beyond is padding."""
    batch = prompted(sampling(batching=batching)[1], "groups")
    ids = torch.zeros(6, max(batch.spans.prompts) + N, dtype=torch.int64)
    found = sampled_outcome(torch.tensor(0.0), ids, batch.sampled(ids), passes=2)
    real = sum(prompt + N for prompt in batch.spans.prompts)
    assert found.trained_tokens == 2 * real
    assert found.generated_tokens == 6 * N
    assert found.padded_tokens == (0 if batching == "packed" else 2 * (ids.numel() - real))


@pytest.mark.parametrize("method", SAMPLING)
def test_what_follows_a_response_reaches_no_loss(method):
    from dataclasses import replace

    setup, source = sampling(method=method, batching="padded", kernels="stock")
    built = open_method(method)
    batch = prompted(source, built.rows)
    spans = batch.spans
    ids = torch.randint(3, 500, (6, max(spans.prompts) + N))
    ids[:, : max(spans.prompts)] = batch.ids[:, : max(spans.prompts)]
    there = torch.arange(ids.shape[1]) < (spans.starts + N).unsqueeze(1)

    def found(rows):
        outcome = built.build(setup).run(replace(batch, rollout=rows), SilentProbe())
        return [outcome.loss.item(), *(value.item() for value in outcome.metrics.values())]

    assert found(torch.where(there, ids, 9)) == pytest.approx(found(ids), abs=1e-6)
