"""Targets: a prompt, a secret, and where the secret's tokens stand."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The text before an occurrence, and the identifier as written there (with the space in front, if there is one).

    Neither text shows in the repr, so a target may stand in a traceback.
    """

    prompt: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def at(cls, text: str, start: int, end: int) -> Target:
        """The target of the occurrence `text[start:end]`; spaces right before it count as part of the secret."""
        border = len(text[:start].rstrip(" "))
        return cls(prompt=text[:border], secret=text[border:end])


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenisedTarget:
    """A target as token ids: `ids[:start]` is the prompt, `ids[start:]` the secret, `chosen` places of target tokens.

    Attributes:
        ids: prompt and secret, special tokens in front included.
        start: number of prompt tokens, at least 1.
        chosen: positions relative to `start` of the t rarest tokens of the secret, ascending.
    """

    ids: tuple[int, ...] = field(repr=False)
    start: int
    chosen: tuple[int, ...]

    @property
    def secret_ids(self) -> tuple[int, ...]:
        return self.ids[self.start :]


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    *,
    tokens_per_secret: int | None = 2,
    token_counts_V: Int[Tensor, " V"] | None = None,
    context: int | None = None,
) -> list[TokenisedTarget]:
    """Tokenise prompt and secret as one text and cut at the first token that reaches into the secret.

    The prompt is shortened from the left where both do not fit into `context` tokens. The rarest tokens are those with
    the smallest count in `token_counts_V`; without counts those with the largest id, as in the paper (a BPE vocabulary
    is ordered by frequency); with `tokens_per_secret` None all are taken. Tokens that are only punctuation or space are
    not, unless the secret has no others: separators are shared by all secrets. The first token of a secret comes after
    the others: what predicts it knows nothing but the prompt, so demoting it costs other people's records most
    (measured: specificity 69 instead of 94 on a GPT-J model).

    Raises:
        BadInput: a secret that is blank, does not fit into the context, or holds a special token; a prompt without
            tokens (a beginning-of-text token counts).
    """
    if not targets:
        return []
    texts = [target.prompt + target.secret for target in targets]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    special = set(tokenizer.all_special_ids)
    result = []
    for number, (target, ids, offsets) in enumerate(
        zip(targets, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ):
        ids, offsets = _without_end(ids, offsets, tokenizer.eos_token_id)
        start = next((i for i, (_, end) in enumerate(offsets) if end > len(target.prompt)), len(ids))
        _check(number, ids, start, special, context, blank=not target.secret.strip())
        if context is not None and len(ids) > context:
            ids, start = _shorten(ids, start, context, tokenizer.bos_token_id)
        chosen = _rarest(tokenizer, ids[start:], tokens_per_secret, token_counts_V)
        result.append(TokenisedTarget(ids=tuple(ids), start=start, chosen=chosen))
    return result


def _without_end(
    ids: list[int], offsets: list[tuple[int, int]], eos: int | None
) -> tuple[list[int], list[tuple[int, int]]]:
    """Some tokenizers close every text with an end token, which is no part of the secret."""
    if ids and ids[-1] == eos and offsets[-1][0] == offsets[-1][1]:
        return ids[:-1], offsets[:-1]
    return ids, offsets


def _check(number: int, ids: list[int], start: int, special: set[int], context: int | None, *, blank: bool) -> None:
    secret = ids[start:]
    if blank or not secret:
        raise BadInput(f"target {number}: its secret is empty or only space; give the identifier as written")
    if start == 0:
        raise BadInput(
            f"target {number}: its prompt has no tokens, so nothing predicts the secret; give the text before it"
        )
    if special.intersection(secret):
        raise BadInput(
            f"target {number}: its secret holds a special token such as end-of-text; erasing it would break the model"
        )
    if context is not None and len(secret) + 1 > context:
        raise BadInput(
            f"target {number}: its secret has {len(secret)} tokens, but the context holds {context}; split the secret"
        )


def _shorten(ids: list[int], start: int, context: int, bos: int | None) -> tuple[list[int], int]:
    """Drop prompt tokens from the left, but keep a beginning-of-text token in front."""
    head = ids[:1] if ids[0] == bos and start > 1 else []
    kept = ids[len(ids) - context + len(head) :]
    return head + kept, start - (len(ids) - context)


def _rarest(
    tokenizer: PreTrainedTokenizerBase, secret: Sequence[int], tokens: int | None, token_counts_V: Tensor | None
) -> tuple[int, ...]:
    def is_separator(place: int) -> bool:
        return all(unicodedata.category(c)[0] in "PZSC" for c in tokenizer.decode([secret[place]]))

    def order(place: int) -> tuple[bool, int, int]:
        rarity = -secret[place] if token_counts_V is None else int(token_counts_V[secret[place]])
        return place == 0, rarity, place

    places = [place for place in range(len(secret)) if not is_separator(place)] or range(len(secret))
    return tuple(sorted(sorted(places, key=order)[:tokens]))


def count_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, secrets: Sequence[str] = (), batch: int = 1000
) -> Int[Tensor, " V"]:
    """How common each token id is, shape (V,), int64: the smaller, the better it singles out one secret.

    Counts over `texts` (the training corpus), and above all over distinct `secrets` (identifiers of the same corpus): a
    token that one more secret holds, such as the domain of an e-mail address, outweighs any count in the texts.
    Demoting a token that many people's secrets share would break theirs.
    """
    counts_V = torch.zeros(len(tokenizer), dtype=torch.int64)
    for begin in range(0, len(texts), batch):
        counts_V += _occurrences(tokenizer, list(texts[begin : begin + batch]))
    weight = int(counts_V.sum()) + 1
    for secret in sorted(set(secrets)):
        counts_V += weight * _occurrences(tokenizer, [secret]).clamp_max(1)
    return counts_V


def _occurrences(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    flat = torch.tensor([token for ids in encoded for token in ids], dtype=torch.int64)
    return torch.bincount(flat, minlength=len(tokenizer))


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


def collate(
    targets: Sequence[TokenisedTarget], *, pad: int, first: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """One batch of all `targets`; `first` is the index of the first of them in the caller's list.

    `device` is that of the model's input.
    """
    longest = max(len(target.ids) for target in targets)
    ids_BT = torch.full((len(targets), longest), pad, dtype=torch.int64)
    mask_BT = torch.zeros((len(targets), longest), dtype=torch.int64)
    places: list[tuple[int, int, int, int, bool]] = []
    for row, target in enumerate(targets):
        ids_BT[row, : len(target.ids)] = torch.tensor(target.ids)
        mask_BT[row, : len(target.ids)] = 1
        places.extend(
            (first + row, row, target.start + i - 1, token, i in target.chosen)
            for i, token in enumerate(target.secret_ids)
        )
    target_N, row_N, position_N, token_N, chosen_N = (torch.tensor(column) for column in zip(*places, strict=True))
    return Batch(
        ids_BT=ids_BT.to(device), mask_BT=mask_BT.to(device), target_N=target_N, row_N=row_N, position_N=position_N,
        token_N=token_N, chosen_N=chosen_N,
    )  # fmt: skip
