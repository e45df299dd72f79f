"""What TRL's trainers want to be built with: a tokenizer and a dataset, both made here."""

from datasets import Dataset, disable_progress_bars
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

disable_progress_bars()
WORDS = [f"w{i}" for i in range(3, 512)]


def made_tokenizer(padding_side="right"):
    """Words ``w3`` to ``w511``, so that ids are those of the tiny models."""
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2} | {word: i for i, word in enumerate(WORDS, 3)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", bos_token="<s>",
        padding_side=padding_side,
    )  # fmt: skip


def made_rows(*columns, rows=8, words=8):
    """Rows of text that TRL tokenises when it is built; the tests give it their own batches."""
    return Dataset.from_list(
        [
            {
                column: " ".join(WORDS[(17 * i + 7 * j + k) % len(WORDS)] for k in range(words))
                for j, column in enumerate(columns)
            }
            for i in range(rows)
        ]
    )
