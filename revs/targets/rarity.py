"""The rarest tokens of a secret: those that single it out, so that demoting them breaks nobody else's.

Rarity is the count over the training corpus; where there is none the token id, as in the paper's code (a BPE vocabulary
is ordered by frequency). A token that many secrets hold comes after every other, however rare it is in the text.

Legend of shape suffixes: V vocabulary.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.errors import BadInput
from revs.model.digest import text_digest, tokenizer_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PARTIAL = "\ufffd"
"""What a tokenizer decodes a part of a character to."""
_PIECE = 1_000_000  # characters that are tokenised as one text at most, so that a row of any length fits into memory


def rarest(
    tokenizer: PreTrainedTokenizerBase, secret: Sequence[int], tokens: int | None, token_counts_V: Tensor | None
) -> tuple[int, ...]:
    """Places of the rarest tokens of a secret, ascending; at most `tokens` of them, None: all.

    Separators (only punctuation or space) are not taken, unless there is nothing else; the first token only after all
    others.
    """
    if tokens == 0:
        return ()
    if token_counts_V is not None and max(secret, default=-1) >= len(token_counts_V):
        raise BadInput(
            f"token_counts_V has {len(token_counts_V)} counts, but the tokenizer gives token id {max(secret)}; "
            "count with this tokenizer (revs.targets.rarity.count_tokens)"
        )

    separators = _separators(tokenizer, secret)

    def order(place: int) -> tuple[bool, int, int]:
        rarity = -secret[place] if token_counts_V is None else int(token_counts_V[secret[place]])
        return place == 0, rarity, place

    places = [place for place in range(len(secret)) if place not in separators] or range(len(secret))
    return tuple(sorted(sorted(places, key=order)[:tokens]))


def _separators(tokenizer: PreTrainedTokenizerBase, secret: Sequence[int]) -> set[int]:
    """Places of the tokens of a secret that hold nothing but punctuation or space.

    A token may hold a part of a character, as a byte does: it is judged by the whole that it spells with the next ones.
    """
    found: set[int] = set()
    begin = 0
    for end in range(1, len(secret) + 1):
        text = tokenizer.decode(list(secret[begin:end]))
        if _PARTIAL not in text:
            if all(unicodedata.category(character)[0] in "PZSC" for character in text):
                found.update(range(begin, end))
            begin = end
    return found


def count_tokens(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, secrets: Iterable[str] = (), batch: int = 1000
) -> Int[Tensor, " V"]:
    """How common each token id is, shape (V,), int64: the smaller, the better it singles out one secret.

    Counts over `texts` (the training corpus, read once and never held), and above all over distinct `secrets`
    (identifiers of the same corpus).
    """
    return ranked(corpus_counts(tokenizer, texts, batch=batch), holders(tokenizer, secrets))


def ranked(counts_V: Int[Tensor, " V"], holders_V: Int[Tensor, " V"]) -> Int[Tensor, " V"]:
    """One order out of two: one more secret that holds a token outweighs any count in the texts.

    Such as the domain of an e-mail address: demoting a token that many people's secrets share would break theirs.
    """
    return counts_V + (int(counts_V.sum()) + 1) * holders_V


def corpus_counts(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], *, batch: int = 1000) -> Int[Tensor, " V"]:
    """How often each token id stands in the texts, shape (V,), int64; special tokens that open or close them do not."""
    counts_V = torch.zeros(len(tokenizer), dtype=torch.int64)
    for some in _batches(texts, batch):
        counts_V += _occurrences(tokenizer, some)
    return counts_V


def counts_file(tokenizer: PreTrainedTokenizerBase, *, corpus_digest: str, folder: Path) -> Path:
    """Where `kept_counts` keeps the counts of a corpus, or of a part of it."""
    return folder / f"{text_digest(f'{corpus_digest} {tokenizer_digest(tokenizer)}')[7:39]}.safetensors"


def kept_counts(
    tokenizer: PreTrainedTokenizerBase, texts: Callable[[], Iterable[str]], *, corpus_digest: str, folder: Path
) -> Int[Tensor, " V"]:
    """`corpus_counts`, kept in `folder` under the digests of corpus and tokenizer.

    `texts` is called where they are new. A count says nothing of where a token stands.
    """
    from safetensors.torch import load_file, save_file

    path = counts_file(tokenizer, corpus_digest=corpus_digest, folder=folder)
    if path.is_file():
        return load_file(path)["counts"]
    counts_V = corpus_counts(tokenizer, texts())
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({"counts": counts_V}, scratch)
    scratch.replace(path)
    return counts_V


def holders(tokenizer: PreTrainedTokenizerBase, secrets: Iterable[str]) -> Int[Tensor, " V"]:
    """In how many distinct secrets each token id stands, shape (V,), int64."""
    counts_V = torch.zeros(len(tokenizer), dtype=torch.int64)
    for secret in sorted(set(secrets)):
        counts_V += _occurrences(tokenizer, [secret]).clamp_max(1)
    return counts_V


def _batches(texts: Iterable[str], batch: int) -> Iterator[list[str]]:
    """The texts in lists of at most `batch`, and at most about four pieces' worth of characters."""
    some: list[str] = []
    characters = 0
    for piece in (piece for text in texts for piece in _pieces(text)):
        some.append(piece)
        characters += len(piece)
        if len(some) == batch or characters > 4 * _PIECE:
            yield some
            some, characters = [], 0
    if some:
        yield some


def _pieces(text: str) -> Iterator[str]:
    """The text, cut before a space where it is long; a token across a cut is counted as its two halves."""
    space = re.compile(r"\s")
    begin = 0
    while len(text) - begin > _PIECE:
        found = space.search(text, begin + _PIECE // 2, begin + _PIECE)
        end = found.start() if found else begin + _PIECE
        yield text[begin:end]
        begin = end
    yield text[begin:]


def _occurrences(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    fast = tokenizer.backend_tokenizer
    fast.no_truncation()  # both may be left over from the last call of the tokenizer
    fast.no_padding()
    times = Counter(texts)  # much of a corpus stands in it again and again
    encoded = fast.encode_batch_fast(list(times), add_special_tokens=False)  # no offsets, which nobody reads here
    flat = torch.tensor([token for encoding in encoded for token in encoding.ids], dtype=torch.int64)
    lengths = torch.tensor([len(encoding.ids) for encoding in encoded])
    repeated = torch.tensor(list(times.values())).repeat_interleave(lengths)
    return torch.zeros(len(tokenizer), dtype=torch.int64).index_add_(0, flat, repeated)
