"""How much goes into one forward pass: windows of long texts, and batches within a budget of tokens.

What a pass holds grows with its tokens, padding included, and not with its rows: 106 prompts of 1,024 tokens take 35
times what 106 of 30 take. So the passes of the edit, the readings and the attacks are bounded twice, by rows as their
caller asks, and by the tokens named here. Training steps (tuning baselines, memit, relearning) are bounded by
rows alone.

Legend of shape suffixes: B batch, T positions, N studied tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENS_AT_ONCE = 16_384  # in one forward pass, padding included; one row that is longer has a pass of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Targets padded on the right, and the places of the tokens under study.

    Attributes:
        ids_BT: token ids; mask_BT: 1 where there is a token. The rest is on the CPU, to index tensors on any device.
        target_N: index (in the list given to `collate`) of the target each studied token belongs to.
        row_N, position_N: row in the batch, and the position whose output predicts the token (one before it).
        token_N: the token ids.
        chosen_N: the token is one of the target tokens (the rarest); the others complete the secret.
    """

    ids_BT: Tensor
    mask_BT: Tensor
    target_N: Tensor
    row_N: Tensor
    position_N: Tensor
    token_N: Tensor
    chosen_N: Tensor


def rows_within(longest: int, rows: int, *, tokens: int | None = None) -> int:
    """Sequences of at most `longest` tokens in one pass: at most `rows`, and no more than the budget holds; at least 1.

    `tokens`: the budget, if not `TOKENS_AT_ONCE`; a backward pass, which keeps what every layer computed, has less.
    """
    budget = TOKENS_AT_ONCE if tokens is None else tokens
    return max(1, min(rows, budget // max(longest, 1)))


def batched(lengths: Sequence[int], rows: int) -> Iterator[list[int]]:
    """Numbers of sequences of these lengths, in their order, in batches that `rows_within` allows."""
    batch: list[int] = []
    longest = 0
    for number, length in enumerate(lengths):
        longest = max(longest, length)
        if batch and len(batch) >= rows_within(longest, rows):
            yield batch
            batch, longest = [], length
        batch.append(number)
    if batch:
        yield batch


def pieces(batch: Batch, rows: int) -> list[Batch]:
    """The batch in parts that `rows_within` allows, each as wide as the whole; their studied tokens in its order."""
    count, width = batch.ids_BT.shape
    step = rows_within(width, rows)
    if count <= step:
        return [batch]
    found = []
    for start in range(0, count, step):
        mine_N = (batch.row_N >= start) & (batch.row_N < start + step)
        of_rows = {name: getattr(batch, name)[start : start + step] for name in ("ids_BT", "mask_BT")}
        of_tokens = {
            name: getattr(batch, name)[mine_N] for name in ("target_N", "position_N", "token_N", "chosen_N")
        }  # fmt: skip
        found.append(replace(batch, row_N=batch.row_N[mine_N] - start, **of_rows, **of_tokens))
    return found


def windows(tokenizer: PreTrainedTokenizerBase, text: Sequence[str], context: int) -> list[tuple[int, ...]]:
    """Token ids of each text, with its special tokens; one that is longer than `context` in several windows.

    Every token of a long text is in exactly one window. Texts of a single token, which nothing predicts, are left out.
    """
    if not text:
        return []
    encoded = tokenizer(list(text), truncation=True, max_length=context, return_overflowing_tokens=True)
    sources: list[int] = list(encoded["overflow_to_sample_mapping"])
    cut = {source for source, following in pairwise(sources) if source == following}
    return [
        tuple(ids)
        for ids, source in zip(encoded["input_ids"], sources, strict=True)
        if len(ids) > 1 or (ids and source in cut)
    ]
