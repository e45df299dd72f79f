"""Fixed-shape batches: prompts of exactly P tokens, responses padded on the right to T."""

__all__ = ["Batch", "BatchSource", "data_digest", "open_batches"]

import hashlib
from dataclasses import dataclass

import torch

from alignmeter.batches.preferences import preference_bytes, read_preferences
from alignmeter.batches.tokenizer import EOS, FIRST_BYTE, PAD, encode
from alignmeter.cell import Cell, digest
from alignmeter.errors import CellError

_SYNTHETIC_PAIRS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B pairs as 2B rows, chosen rows first.

    Padding needs no attention mask: it is on the right, both model families are causal, and
    ``response_mask`` keeps it out of every loss.

    ids: [2B, T] int64. response_mask: [2B, T-P], 1 where a response token is real.
    real_tokens: how many of ``ids`` are not padding, counted on the host.
    """

    ids: torch.Tensor
    response_mask: torch.Tensor
    prompt_len: int
    real_tokens: int

    @property
    def prompts(self) -> torch.Tensor:
        """[2B, P]: each prompt twice, one row for each of its two answers."""
        return self.ids[:, : self.prompt_len]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource:
    """The usable pairs as token ids. They stay plain lists: only a batch in use is a tensor.

    chosen, rejected: P prompt tokens and 1 to T-P response tokens, unpadded.
    dropped: pairs left out because their prompt is shorter than P.
    """

    chosen: list[list[int]]
    rejected: list[list[int]]
    seq_len: int
    prompt_len: int
    batch: int
    dropped: int

    @property
    def kept(self) -> int:
        """Pairs whose prompt reaches the prompt length."""
        return len(self.chosen)

    def take(self, step: int, device: torch.device) -> Batch:
        """The batch of one step on ``device``: B consecutive pairs, starting again at the end."""
        index = [(step * self.batch + i) % self.kept for i in range(self.batch)]
        rows = [self.chosen[i] for i in index] + [self.rejected[i] for i in index]
        lengths = torch.tensor([len(row) - self.prompt_len for row in rows])
        mask = torch.arange(self.seq_len - self.prompt_len) < lengths.unsqueeze(1)
        padded = [row + [PAD] * (self.seq_len - len(row)) for row in rows]
        return Batch(
            ids=torch.tensor(padded, device=device),
            response_mask=mask.float().to(device),
            prompt_len=self.prompt_len,
            real_tokens=sum(len(row) for row in rows),
        )


def data_digest(data: str) -> str:
    """SHA-256 of the data's bytes, or of the recipe of the synthetic tokens.

    Raises `InputError` for a malformed file, so that a run finds out before its first worker.
    """
    if data == "synthetic":
        return digest(["synthetic", _SYNTHETIC_PAIRS, FIRST_BYTE])
    read_preferences(data)
    return hashlib.sha256(preference_bytes(data)).hexdigest()


def open_batches(cell: Cell, *, vocab_size: int, seed: int) -> BatchSource:
    """Tokenise the cell's data and put its rows into the order of ``seed``.

    A prompt longer than P keeps its last P tokens; a pair with a shorter one is dropped and counted
    (there is no left padding: Mamba gets it wrong). Raises `CellError` if fewer than B remain.
    """
    generator = torch.Generator().manual_seed(seed)
    if cell.data == "synthetic":
        return _synthetic(cell, vocab_size, generator)
    pairs = read_preferences(cell.data)
    prompt_len, rest = cell.prompt_len, cell.seq_len - cell.prompt_len
    rows = []
    for pair in pairs:
        prompt = encode(pair.prompt)[-prompt_len:]
        if len(prompt) == prompt_len:
            answers = [[*encode(text)[: rest - 1], EOS] for text in (pair.chosen, pair.rejected)]
            rows.append((prompt, *answers))
    if len(rows) < cell.batch:
        raise CellError(
            "unsupported",
            "data_too_short",
            f"{len(rows)} of {len(pairs)} prompts have {prompt_len} tokens or more, the batch "
            f"needs {cell.batch}; lower --prompt-len, or use --data synthetic or longer data",
        )
    rows = [rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()]
    return BatchSource(
        chosen=[prompt + chosen for prompt, chosen, _ in rows],
        rejected=[prompt + rejected for prompt, _, rejected in rows],
        seq_len=cell.seq_len,
        prompt_len=prompt_len,
        batch=cell.batch,
        dropped=len(pairs) - len(rows),
    )


def _synthetic(cell: Cell, vocab_size: int, generator: torch.Generator) -> BatchSource:
    shape = (2, max(_SYNTHETIC_PAIRS, cell.batch), cell.seq_len)
    ids = torch.randint(FIRST_BYTE, vocab_size, shape, generator=generator)
    ids[1, :, : cell.prompt_len] = ids[0, :, : cell.prompt_len]
    return BatchSource(
        chosen=ids[0].tolist(),
        rejected=ids[1].tolist(),
        seq_len=cell.seq_len,
        prompt_len=cell.prompt_len,
        batch=cell.batch,
        dropped=0,
    )
