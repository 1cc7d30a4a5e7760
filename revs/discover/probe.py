"""Probing: which secrets the model has memorised, and which of them greedy decoding does not show.

Greedy decoding generates a secret exactly where each of its tokens is the top-1 prediction given the true ones
before it, so one teacher-forced pass decides nearly every prompt, without decoding at all. Only two kinds are decoded:
where the first token that differs may spell the same text in other tokens, and where the leading token leads by so
little that the make-up of the batch could decide; the latter alone and without padding. The answers are those of
decoding every prompt by itself (`revs.evaluation.decoding`).

A secret that greedy decoding does not give may still be memorised: `revs.discover.exposure`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from revs.evaluation.decoding import greedily_extracted, secret_text
from revs.evaluation.measures import share_that_follows
from revs.evaluation.teacher_forcing import Forced, teacher_forced
from revs.model.hooks import pad_id
from revs.targets.tokenize import TokenisedTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the model knows of one secret under one prompt.

    Attributes:
        memorised: greedy decoding from the prompt reproduces the secret (Carlini et al. 2023).
        extraction_strength: share of the secret that follows by itself, percent, as in `revs.evaluation.metrics`.
        loss: mean negative log-likelihood of the secret's tokens, nats.
    """

    memorised: bool
    extraction_strength: float
    loss: float


def probe(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[TokenisedTarget],
    *,
    batch_size: int = 64,
) -> list[Probe]:
    """Probe every target; neither the order of the targets nor the other targets change an answer.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        targets: tokenised within the model's context.
        batch_size: sequences per forward pass at most.

    Raises:
        BadInput: the model's logits are not finite.
    """
    pad = pad_id(model, tokenizer)
    forced = teacher_forced(model, targets, pad=pad, batch_size=batch_size)
    close = [place for place, each in enumerate(forced) if each.close]
    for place in close:
        forced[place] = teacher_forced(model, [targets[place]], pad=pad)[0]
    generated = [each.right == len(each.top) for each in forced]
    apart = {place: greedily_extracted(model, tokenizer, [targets[place]])[0] for place in close}
    unclear = [
        place
        for place, each in enumerate(forced)
        if place not in apart and not generated[place] and _may_still_generate(tokenizer, targets[place], each)
    ]
    decoded = greedily_extracted(model, tokenizer, [targets[place] for place in unclear], batch_size=batch_size)
    apart |= dict(zip(unclear, decoded, strict=True))
    return [
        Probe(
            memorised=apart.get(place, generated[place]),
            extraction_strength=100 * share_that_follows(each.top),
            loss=each.nll / len(each.top),
        )
        for place, each in enumerate(forced)
    ]


def _may_still_generate(tokenizer: PreTrainedTokenizerBase, target: TokenisedTarget, forced: Forced) -> bool:
    """Whether the answer up to its first other token can be, or become, the text of the secret."""
    begun: str = tokenizer.decode([*target.secret_ids[: forced.right], forced.predicted[forced.right]])
    begun = begun.strip().rstrip("\N{REPLACEMENT CHARACTER}")  # the first bytes of a character
    secret = secret_text(tokenizer, target)
    return secret.startswith(begun) or begun.startswith(secret)
