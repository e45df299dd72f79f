"""Fixed-shape batches: prompts of exactly P tokens, responses padded on the right to T."""

__all__ = ["Batch", "BatchSource", "data_digest", "open_batches"]

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch

from alignmeter.batches.preferences import preference_bytes, read_preferences
from alignmeter.batches.tokenizer import FIRST_BYTE, PAD, open_tokenizer
from alignmeter.cells.cell import Cell, digest
from alignmeter.errors import CellError

_SYNTHETIC_PAIRS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B pairs as 2B rows, chosen rows first.

    Padding needs no attention mask: it is on the right, both model families are causal, and
    ``response_mask`` keeps it out of every loss.

    ids: [2B, T] int64. response_mask: [2B, T-P], 1 where a response token is real.
    real_tokens: how many of ``ids`` are not padding, counted on the host.
    pairs: number of the pair behind each chosen row.
    rollout: tokens [2B, T] that PPO takes instead of sampling its own.
    """

    ids: torch.Tensor
    response_mask: torch.Tensor
    prompt_len: int
    real_tokens: int
    pairs: tuple[int, ...]
    rollout: torch.Tensor | None = None

    @property
    def prompts(self) -> torch.Tensor:
        """[2B, P]: each prompt twice, one row for each of its two answers."""
        return self.ids[:, : self.prompt_len]

    @property
    def padded_tokens(self) -> int:
        """How many of ``ids`` are padding."""
        return self.ids.numel() - self.real_tokens

    @property
    def last_token(self) -> torch.Tensor:
        """[2B]: position of each row's last real token."""
        return self.prompt_len - 1 + self.response_mask.sum(1).long()


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSource:
    """The usable pairs as token ids. They stay plain lists: only a batch in use is a tensor.

    chosen, rejected: P prompt tokens and 1 to T-P response tokens, unpadded.
    dropped: pairs left out because their prompt is shorter than P.
    pad: id that fills rows up. tokenizer: name of what made the ids.
    """

    chosen: list[list[int]]
    rejected: list[list[int]]
    seq_len: int
    prompt_len: int
    batch: int
    dropped: int
    pad: int
    tokenizer: str

    @property
    def kept(self) -> int:
        """Pairs whose prompt reaches the prompt length."""
        return len(self.chosen)

    def take(
        self, step: int, device: torch.device, rows: Literal["pairs", "chosen"] = "pairs"
    ) -> Batch:
        """The batch of one step on ``device``, from consecutive pairs, starting again at the end.

        ``pairs`` takes both answers of B pairs, ``chosen`` the chosen ones of 2B.
        """
        count = self.batch if rows == "pairs" else 2 * self.batch
        index = tuple((step * count + i) % self.kept for i in range(count))
        chosen = [self.chosen[i] for i in index]
        rejected = [self.rejected[i] for i in index] if rows == "pairs" else []
        return self._batch(chosen + rejected, index, device)

    def _batch(self, rows: list[list[int]], pairs: tuple[int, ...], device: torch.device) -> Batch:
        lengths = torch.tensor([len(row) - self.prompt_len for row in rows])
        mask = torch.arange(self.seq_len - self.prompt_len) < lengths.unsqueeze(1)
        padded = [row + [self.pad] * (self.seq_len - len(row)) for row in rows]
        return Batch(
            ids=torch.tensor(padded, device=device),
            response_mask=mask.float().to(device),
            prompt_len=self.prompt_len,
            real_tokens=sum(len(row) for row in rows),
            pairs=pairs,
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
    tokenizer = open_tokenizer(cell)
    prompt_len, rest = cell.prompt_len, cell.seq_len - cell.prompt_len
    rows = []
    for pair in pairs:
        prompt = tokenizer.encode(pair.prompt)[-prompt_len:]
        if len(prompt) == prompt_len:
            answers = (tokenizer.encode(text)[: rest - 1] for text in (pair.chosen, pair.rejected))
            rows.append((prompt, *([*answer, tokenizer.eos] for answer in answers)))
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
        pad=tokenizer.pad,
        tokenizer=tokenizer.name,
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
        pad=PAD,
        tokenizer="synthetic",
    )
