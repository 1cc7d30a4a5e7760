"""What a model generates unasked: the audit of what nobody knows to ask about (Carlini et al. 2021, section 4).

Continuations are drawn from nothing but the beginning-of-text token, from the beginnings of ordinary text, or from
prompts that invite a type of identifier (`revs.discover.prompts`). They are handed out as they come and are kept
nowhere: some of them are personal data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from revs.errors import BadInput
from revs.evaluation.decoding import continued, plain_decoding
from revs.model.batch import rows_within
from revs.model.families import context_length
from revs.model.seeding import seeded
from revs.targets.tokenize import start_token

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SEEDS = 2**63
_BEGINNING = 10  # tokens: what Carlini et al. take of a web page at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample.

    Attributes:
        count: continuations in all; prompts take turns.
        length: tokens of each at most.
        temperature: of the softmax, > 0.
        top_k: how many of the most likely tokens are drawn from; 0: all.
        seed: decides every draw, together with the batch size.
        batch_size: continuations decoded at once.
    """

    count: int = 1000
    length: int = 128
    temperature: float = 1.0
    top_k: int = 40
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("length", 1), ("top_k", 0), ("batch_size", 1)):
            if (value := getattr(self, name)) < least:
                raise BadInput(f"Sampling: {name} {value} is below {least}; see its docstring")
        if not 0 < self.temperature < float("inf"):
            raise BadInput(f"Sampling: temperature {self.temperature} is not a number > 0; 1 is the model's own")
        if not -_SEEDS <= self.seed < _SEEDS:
            raise BadInput(f"Sampling: seed {self.seed} does not fit into 64 bits; give a smaller number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A prompt and what the model went on with; neither shows in the repr."""

    prompt: str = field(repr=False)
    text: str = field(repr=False)


def continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sampling: Sampling,
    *,
    prompts: Sequence[str] = ("",),
) -> Iterator[Sample]:
    """Draw continuations, batch by batch. The same arguments give the same ones; the caller's random numbers stay.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        sampling: how many, how long, how.
        prompts: what to go on from, in turns; "" is the beginning-of-text token alone. One that is too long for the
            context keeps its end.

    Raises:
        BadInput: no prompts; no room for a prompt beside `length` tokens; "" where the tokenizer has no token to begin
            a text with.
    """
    room = context_length(model) - sampling.length
    if not prompts or room < 1:
        raise BadInput(
            f"sampling {sampling.length} tokens from {len(prompts)} prompts: give at least one prompt, and fewer "
            f"tokens than the model's context, {context_length(model)}"
        )
    begun = [_begin(tokenizer, prompt)[-room:] for prompt in prompts]
    rows = rows_within(max(map(len, begun)) + sampling.length, sampling.batch_size)
    for first in range(0, sampling.count, rows):
        turns = [n % len(prompts) for n in range(first, min(first + rows, sampling.count))]
        texts = _draw(model, tokenizer, [begun[turn] for turn in turns], sampling, first)
        yield from (Sample(prompt=prompts[turn], text=text) for turn, text in zip(turns, texts, strict=True))


def beginnings(texts: Iterable[str], *, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The first 10 tokens of each text as a prompt, without special tokens; blank ones and repetitions are left out."""
    taken = [
        tokenizer.decode(tokenizer(text[:1000], add_special_tokens=False)["input_ids"][:_BEGINNING]) for text in texts
    ]
    return list(dict.fromkeys(prompt for prompt in taken if prompt.strip()))


def _begin(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt, without an end token after it; where there are none, the token that texts begin with."""
    encoded = tokenizer(prompt, return_special_tokens_mask=True)
    ids, added = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    while ids and added[-1] and ids[-1] != tokenizer.bos_token_id:
        ids, added = ids[:-1], added[:-1]
    if ids:
        return ids
    if (start := start_token(tokenizer)) is None:
        raise BadInput("the tokenizer has no token to begin a text with; give prompts instead")
    return [start]


def _draw(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    first: int,
) -> list[str]:
    with seeded(sampling.seed * 1_000_003 + first, model), plain_decoding(model):
        new_BT = continued(
            model, tokenizer, prompts, sampling.length,
            do_sample=True, temperature=sampling.temperature, top_k=sampling.top_k, top_p=1.0,
        )  # fmt: skip
    return [_behind(tokenizer, prompt, new) for prompt, new in zip(prompts, new_BT.tolist(), strict=True)]


def _behind(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], new: Sequence[int]) -> str:
    """The text of the new tokens as it goes on from the prompt: some tokenizers drop the space in front of a text."""
    before: str = tokenizer.decode(prompt, skip_special_tokens=True)
    whole: str = tokenizer.decode([*prompt, *new], skip_special_tokens=True)
    alone: str = tokenizer.decode(new, skip_special_tokens=True)
    return whole.removeprefix(before) if before and whole.startswith(before) else alone
