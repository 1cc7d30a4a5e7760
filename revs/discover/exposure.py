"""Exposure: a secret that is memorised though greedy decoding does not give it (Carlini et al. 2019, section 4.2).

Exposure is log2 |R| − log2 rank, the rank of the secret among all candidates R of its form by log-perplexity;
estimated by sampling (section 4.3): K candidates ("decoys") under the same prompt. With r of them at least as likely as
the secret, the share of candidates in front of it is estimated as (r + 1) / (K + 1), never 0 (Phipson & Smyth 2010). A
secret is *exposed* where that is at most 1%: its loss lies below the 1% quantile of the decoys'. Likelihoods are per
character, since candidates may differ in length, and one text may be more tokens or fewer.

The candidates decide what the figure means. Assembled from other secrets of the corpus
(`revs.targets.decoys.assembled`) they share what every secret of the type has; on a model that never saw the 56 targets
of the demo, 0 of 56 came out exposed, against 16 of 16 phone numbers with random characters, all for their 555. What no
candidates can tell: an address made of the name in the prompt is likelier than another also for a model that never saw
it.

The prompt is read once per target; its cache is what all decoys go on from.

Legend of shape suffixes: K candidates, S tokens of secrets, N places.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from revs.errors import BadInput
from revs.evaluation.measures import share_that_follows
from revs.evaluation.teacher_forcing import logits_at, read_out
from revs.model.batch import TOKENS_AT_ONCE
from revs.model.hooks import evaluating, pad_id
from revs.model.offload import input_device
from revs.targets.decoys import assembled, decoys
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DECOYS = 99  # the fewest with which a secret in front of all of them stands at 1%
EXPOSED = 0.01
_FIRST = 16  # decoys that are tried first: where they settle that a secret is not exposed, the share is theirs
_TAIL = 64  # characters of the prompt in front of a decoy while it is tokenised


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a secret stands among decoys of its form under one prompt.

    Attributes:
        quantile: estimated share of candidates that are at least as likely per character as the secret, in (0, 1].
        decoys: how many were scored.
        strength: extraction strength of the secret, percent; strongest: the largest that a decoy reached.
    """

    quantile: float
    decoys: int
    strength: float
    strongest: float

    @property
    def stands_out(self) -> bool:
        """Whether the secret may be in front of all but 1% of the candidates in likelihood or in strength."""
        return self.quantile <= EXPOSED or self._first or self.strength > self.strongest

    @property
    def _first(self) -> bool:
        return self.quantile * (self.decoys + 1) < 1.5  # no decoy is at least as likely


def decoy_places(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    tokens: Sequence[TokenisedTarget],
    *,
    pool: Sequence[str] | None = None,
    count: int = DECOYS,
    seed: int = 0,
) -> list[Place | None]:
    """Place each target's secret among decoys under the same prompt.

    None where there are fewer than half of `count` decoys: a pool without others of that form, a secret of letters that
    random decoys do not know how to exchange, or one whose first token takes in what stands before it. Sixteen decoys
    are scored first, and the others only where the secret stands out from these.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        targets: what to place.
        tokens: the same, tokenised within the model's context.
        pool: other secrets of the same type, as they stand in the corpus, that decoys are assembled from; None: decoys
            of random characters.
        count: K, decoys per target, at least 1.
        seed: of the decoys.

    Raises:
        BadInput: the model's logits are not finite; `count` is below 1.
    """
    if count < 1:
        raise BadInput(f"{count} decoys place nothing; take at least 1, or {DECOYS} to find what is exposed")
    pad = pad_id(model, tokenizer)
    found: list[Place | None] = []
    for target, own in zip(targets, tokens, strict=True):
        others = _candidates(tokenizer, target, own, _decoys(target, pool, count, seed))
        if 2 * len(others) < count:
            found.append(None)
            continue
        place = _place(model, target, own, others[:_FIRST], pad)
        found.append(_place(model, target, own, others, pad) if place.stands_out else place)
    return found


def _decoys(target: Target, pool: Sequence[str] | None, count: int, seed: int) -> list[Target]:
    """The target with other secrets, each once."""
    if pool is None:
        drawn = [decoys([target], seed=seed + number)[0] for number in range(count)]
        return [other for other in dict.fromkeys(drawn) if other != target]
    bare = target.secret.strip()
    made = assembled(bare, (other.strip() for other in pool), count=count, seed=f"{seed} {bare}")
    return [replace(target, secret=target.secret.replace(bare, other)) for other in made]


def _candidates(
    tokenizer: PreTrainedTokenizerBase, target: Target, own: TokenisedTarget, drawn: Sequence[Target]
) -> list[tuple[int, tuple[int, ...]]]:
    """Characters and token ids of the decoys that leave the prompt's last token as it is."""
    if not drawn:
        return []
    tail = target.prompt[-_TAIL:]
    encoded = tokenise(tokenizer, [replace(other, prompt=tail) for other in drawn], tokens_per_secret=0)
    return [
        (len(other.secret), tokens.secret_ids)
        for other, tokens in zip(drawn, encoded, strict=True)
        if tokens.ids[tokens.start - 1] == own.ids[own.start - 1]
    ]


def _place(
    model: PreTrainedModel,
    target: Target,
    own: TokenisedTarget,
    others: Sequence[tuple[int, tuple[int, ...]]],
    pad: int,
) -> Place:
    nll_K, strengths = _scored(model, own.ids[: own.start], [own.secret_ids, *(ids for _, ids in others)], pad)
    loss_K = nll_K / torch.tensor([len(target.secret), *(length for length, _ in others)])
    ahead = int((loss_K[1:] <= loss_K[0]).sum())
    return Place(
        quantile=(ahead + 1) / (len(others) + 1), decoys=len(others), strength=strengths[0],
        strongest=max(strengths[1:]),
    )  # fmt: skip


def _scored(
    model: PreTrainedModel, prompt: Sequence[int], secrets: Sequence[tuple[int, ...]], pad: int
) -> tuple[Tensor, list[float]]:
    """Of each secret after the prompt: negative log-likelihood, float64 (K,), and extraction strength, percent."""
    device = input_device(model)
    *before, last = prompt
    cache = _cache_of(model, torch.tensor([before], device=device)) if before else None
    parts, strengths = [], []
    for some in _chunks(secrets, len(prompt)):
        lengths = torch.tensor([len(secret) for secret in some])
        ids_KS = torch.full((len(some), int(lengths.max())), pad)
        for row, secret in enumerate(some):
            ids_KS[row, : len(secret)] = torch.tensor((last, *secret[:-1]))
        there_KS = torch.arange(ids_KS.shape[1])[None] < lengths[:, None]
        row_N, position_N = there_KS.nonzero(as_tuple=True)
        mask_KT = torch.cat([torch.ones(len(some), len(before), dtype=torch.int64), there_KS.long()], dim=1)
        options = {} if cache is None else {"past_key_values": _repeated(cache, len(some)), "use_cache": True}
        logits_NV = logits_at(model, ids_KS.to(device), mask_KT.to(device), row_N, position_N, **options)
        token_N = torch.tensor([token for secret in some for token in secret])
        nll_N, said_N, _ = read_out(logits_NV, token_N)
        parts.append(torch.zeros(len(some), dtype=torch.float64).index_add(0, row_N, nll_N))
        rows = torch.split(said_N == token_N, lengths.tolist())
        strengths += [100 * share_that_follows(first_S.tolist()) for first_S in rows]
    return torch.cat(parts), strengths


def _chunks(secrets: Sequence[tuple[int, ...]], prompt: int) -> Iterator[Sequence[tuple[int, ...]]]:
    rows = max(1, TOKENS_AT_ONCE // (prompt + max(map(len, secrets))))
    for first in range(0, len(secrets), rows):
        yield secrets[first : first + rows]


def _cache_of(model: PreTrainedModel, ids_1T: Tensor) -> Any:
    """What the model keeps of the prompt; its head runs on the last place alone."""
    with torch.no_grad(), evaluating(model):
        return model(input_ids=ids_1T, use_cache=True, logits_to_keep=1).past_key_values


def _repeated(cache: Any, rows: int) -> Any:
    several = copy.deepcopy(cache)
    several.batch_repeat_interleave(rows)
    return several
