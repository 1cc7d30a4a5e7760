"""Token counts: one pass that holds no corpus, kept under the digests of what was counted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from revs.model.digest import tokenizer_digest
from revs.targets.rarity import corpus_counts, count_tokens, holders, kept_counts, ranked


def counted(tokenizer: Any, texts: list[str]) -> dict[int, int]:
    """One text at a time, in a dictionary."""
    found: dict[int, int] = {}
    for text in texts:
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            found[token] = found.get(token, 0) + 1
    return found


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_counts_are_those_of_one_text_at_a_time(batch: int, tokenizer: Any, ordinary: list[str]) -> None:
    texts = [*ordinary, "", ordinary[0]]
    counts_V = corpus_counts(tokenizer, iter(texts), batch=batch)
    assert {place: int(counts_V[place]) for place in counts_V.nonzero().flatten().tolist()} == counted(tokenizer, texts)


def test_a_text_of_any_length_is_counted_in_pieces(
    tokenizer: Any, ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before a space, where no token of this tokenizer goes on; without a space anywhere."""
    text = " ".join(ordinary * 3)
    whole = corpus_counts(tokenizer, [text])
    monkeypatch.setattr("revs.targets.rarity._PIECE", 120)
    assert torch.equal(corpus_counts(tokenizer, [text]), whole)
    assert int(corpus_counts(tokenizer, ["7" * 1000]).sum()) > 0


def test_a_stream_is_read_once_and_never_held(tokenizer: Any) -> None:
    """Ten times the texts take no more memory."""

    def peak(texts: int) -> int:
        stream: Iterator[str] = (f"Record {number} of the folder. " * 20 for number in range(texts))
        tracemalloc.start()
        corpus_counts(tokenizer, stream, batch=20)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(40)
    assert peak(600) < 1.5 * peak(60) + 100_000


def test_what_was_counted_before_is_not_counted_again(tokenizer: Any, ordinary: list[str], tmp_path: Path) -> None:
    calls: list[int] = []

    def texts() -> list[str]:
        calls.append(1)
        return ordinary

    folder = tmp_path / "counts"
    first = kept_counts(tokenizer, texts, corpus_digest="sha256:a", folder=folder)
    again = kept_counts(tokenizer, texts, corpus_digest="sha256:a", folder=folder)
    assert torch.equal(first, again) and torch.equal(first, corpus_counts(tokenizer, ordinary))
    assert len(calls) == 1
    kept_counts(tokenizer, texts, corpus_digest="sha256:b", folder=folder)
    assert len(calls) == 2 and len(list(folder.iterdir())) == 2, "another corpus, and nothing left half written"


def test_another_tokenizer_is_another_count_but_padding_is_not(
    new_tokenizer: Callable[..., Any], tmp_path: Path, ordinary: list[str]
) -> None:
    one, other = new_tokenizer(), new_tokenizer(vocab_size=380)
    digest = tokenizer_digest(one)
    one(ordinary, padding=True, truncation=True, max_length=5)
    assert tokenizer_digest(one) == digest != tokenizer_digest(other)
    assert int(kept_counts(one, lambda: ordinary, corpus_digest="x", folder=tmp_path).sum()) > 0
    assert len(kept_counts(other, lambda: ordinary, corpus_digest="x", folder=tmp_path)) == len(other)


def test_a_token_that_one_more_secret_holds_comes_after_every_other(tokenizer: Any, ordinary: list[str]) -> None:
    secrets = ["qz", "az", "qz", "zz"]
    holders_V = holders(tokenizer, secrets)
    q, z = (tokenizer.convert_tokens_to_ids(letter) for letter in "qz")
    assert (int(holders_V[q]), int(holders_V[z])) == (1, 3)
    counts_V = corpus_counts(tokenizer, ordinary)
    order_V = ranked(counts_V, holders_V)
    assert order_V[z] > order_V[q] > counts_V.max()
    assert torch.equal(order_V, count_tokens(tokenizer, ordinary, secrets=secrets))


def test_a_row_that_stands_often_counts_as_often(tokenizer: Any) -> None:
    rows = ["the same row", "another one", "the same row", "", "the same row"]
    one_by_one = sum(corpus_counts(tokenizer, [row]) for row in rows)
    assert torch.equal(corpus_counts(tokenizer, rows), one_by_one)
    assert int(one_by_one.sum()) > 0
