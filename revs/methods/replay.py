"""Records that the model itself goes on with: what other people's memory looks like, where nobody gives their records.

An edit leaves alone what C holds (`revs.edit.moments`). Retained records are only as many as somebody gives, and those
of everybody else suffer: on a development model with half of the others given, these were kept, and of the rest 46 %.
But a model that has memorised people recites them, given the beginning of a frame. What it generates there stands for
all of them: with it 94 to 100 % were kept of either half.

It holds other people's data: it stays in memory, and nobody is shown it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from revs.edit.request import Request
from revs.errors import BadInput
from revs.evaluation.decoding import continued, plain_decoding
from revs.model.batch import rows_within
from revs.model.families import context_length
from revs.model.seeding import seeded
from revs.targets.frames import Frames
from revs.targets.tokenize import TokenisedTarget, encode, start_token

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def replayed(request: Request, frames: Frames) -> list[TokenisedTarget]:
    """Continuations of the frames' beginnings at temperature 1, without those that tell of a target.

    Args:
        request: its model is not changed; its settings say how many (`replayed`), beginnings taking turns, and the seed
            of the draws. None is longer than the longest target.
        frames: of the targets and the retained records.

    Returns:
        Each as a record whose every generated token is one of its secret.
    """
    model, tokenizer, targets, config = request.model, request.tokenizer, request.targets, request.config
    begun = _begun(tokenizer, frames)
    longest = min(max(len(target.ids) for target in request.tokenised(targets)), context_length(model))
    begun = [ids for ids in begun if 0 < len(ids) < longest]
    if not begun or not config.replayed:
        return []
    turns = sorted((begun[number % len(begun)] for number in range(config.replayed)), key=len)  # little padding
    found = []
    with seeded(random.Random(f"replay {config.seed}").getrandbits(63), model), plain_decoding(model):
        ends = _ends(model, tokenizer)
        rows = rows_within(longest, config.batch_size)
        for first in range(0, config.replayed, rows):
            prompts = turns[first : first + rows]
            length = min(longest - len(prompts[0]), context_length(model) - len(prompts[-1]))
            new = _drawn(model, tokenizer, prompts, length)
            found += [_record(ends, ids, some, longest) for ids, some in zip(prompts, new, strict=True)]
    return [
        row for row in found
        if row.secret_ids and not any(frames.tells(target, tokenizer.decode(row.ids)) for target in targets)
    ]  # fmt: skip


def _begun(tokenizer: PreTrainedTokenizerBase, frames: Frames) -> list[tuple[int, ...]]:
    """The frames' beginnings as token ids, without what closes a text; of nothing, the token that texts begin with."""
    opening = start_token(tokenizer)
    found = []
    for text in frames.beginnings():
        ids = encode(tokenizer, [text])[0].ids if text else ()
        found.append(ids or (() if opening is None else (opening,)))
    return found


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens at which generation ends."""
    eos = model.generation_config.eos_token_id
    return {*(eos if isinstance(eos, list) else [eos]), tokenizer.eos_token_id} - {None}


def _drawn(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[int]], length: int
) -> list[list[int]]:
    try:
        found: list[list[int]] = continued(
            model, tokenizer, prompts, length, do_sample=True, temperature=1.0, top_k=0, top_p=1.0
        ).tolist()
    except RuntimeError as error:
        if "probability tensor" not in str(error):
            raise
        raise BadInput(
            "the model's probabilities are not finite where it generates records to be kept; "
            "load it in float32, or give replayed=0"
        ) from None
    return found


def _record(ends: set[int], ids: Sequence[int], new: Sequence[int], longest: int) -> TokenisedTarget:
    """The beginning and what was generated, up to the end of the text."""
    end = next((place for place, token in enumerate(new) if token in ends), len(new))
    row = (*ids, *new[:end])[:longest]
    return TokenisedTarget(ids=row, start=len(ids), chosen=tuple(range(len(row) - len(ids))))
