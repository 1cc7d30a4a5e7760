"""Records that the model itself goes on with: what other people's memory looks like, where nobody gives their records.

An edit leaves alone what C holds (`revs.edit.moments`). Retained records are only as many as somebody gives, and those
of everybody else suffer: on a development model with half of the others given, these were kept, and of the rest 46 %.
But a model that has memorised people recites them, given the beginning of a frame. What it generates there stands for
all of them: with it 94 to 100 % were kept of either half.

It holds other people's data: it stays in memory, and nobody is shown it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from revs.evaluation.decoding import continued, plain_decoding
from revs.model.batch import rows_within
from revs.model.families import context_length
from revs.model.seeding import seeded
from revs.targets.frames import Frames
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, start_token

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def replayed(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    frames: Frames,
    targets: Sequence[Target],
    *,
    count: int,
    longest: int,
    batch_size: int,
    seed: int,
) -> list[TokenisedTarget]:
    """Continuations of the frames' beginnings at temperature 1, without those that tell of a target.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        frames: of the targets and the retained records.
        targets: what is erased.
        count: continuations in all; beginnings take turns.
        longest: tokens of each, its beginning included.
        batch_size: rows generated at once, at most.
        seed: of the draws.

    Returns:
        Each as a record whose every generated token is one of its secret.
    """
    opening = start_token(tokenizer)
    begun = [tokenizer(text)["input_ids"] or ([] if opening is None else [opening]) for text in frames.beginnings()]
    longest = min(longest, context_length(model))
    begun = [ids for ids in begun if 0 < len(ids) < longest]
    if not begun:
        return []
    turns = sorted((begun[number % len(begun)] for number in range(count)), key=len)  # little padding
    found = []
    with seeded(seed, model), plain_decoding(model):
        rows = rows_within(longest, batch_size)
        for first in range(0, count, rows):
            prompts = turns[first : first + rows]
            new = continued(
                model, tokenizer, prompts, longest - min(map(len, prompts)), do_sample=True, temperature=1.0, top_k=0,
                top_p=1.0,
            ).tolist()  # fmt: skip
            found += [_record(tokenizer, ids, some, longest) for ids, some in zip(prompts, new, strict=True)]
    return [
        row for row in found
        if row.secret_ids and not any(frames.tells(target, tokenizer.decode(row.ids)) for target in targets)
    ]  # fmt: skip


def _record(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], new: Sequence[int], longest: int
) -> TokenisedTarget:
    """The beginning and what was generated, up to the end of the text."""
    end = next((place for place, token in enumerate(new) if token == tokenizer.eos_token_id), len(new))
    row = (*ids, *new[:end])[:longest]
    return TokenisedTarget(ids=row, start=len(ids), chosen=tuple(range(len(row) - len(ids))))
