"""How much goes into one pass: rows within a budget of tokens, and long texts in windows, whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revs.model import batch as batching
from revs.model.batch import batched, pieces, rows_within, windows
from revs.targets.tokenize import TokenisedTarget, collate


@pytest.mark.parametrize(
    ("longest", "rows", "allowed"),
    [(30, 64, 64), (1024, 64, 16), (16_384, 64, 1), (20_000, 64, 1), (1, 1, 1), (0, 8, 8)],
)
def test_rows_are_bounded_by_what_is_asked_for_and_by_tokens(longest: int, rows: int, allowed: int) -> None:
    assert rows_within(longest, rows) == allowed


def test_batches_keep_the_order_and_stay_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "TOKENS_AT_ONCE", 100)
    lengths = [10, 10, 30, 40, 41, 5, 5, 120, 1]
    assert list(batched(lengths, 3)) == [[0, 1, 2], [3, 4], [5, 6], [7], [8]]
    assert list(batched([], 3)) == []


def test_the_parts_of_a_batch_are_the_batch() -> None:
    targets = [
        TokenisedTarget(ids=tuple(range(n, n + length)), start=2, chosen=(0,))
        for n, length in enumerate((4, 9, 3, 7, 5))
    ]
    whole = collate(targets, pad=0, first=3)
    parts = pieces(whole, 2)
    assert [len(part.ids_BT) for part in parts] == [2, 2, 1]
    for name in ("ids_BT", "mask_BT", "target_N", "position_N", "token_N", "chosen_N"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name)), name
    rows_N = torch.cat([part.row_N + 2 * number for number, part in enumerate(parts)])
    assert torch.equal(rows_N, whole.row_N)
    assert pieces(whole, 5) == [whole]


WORDS = st.lists(st.sampled_from(["train", "bridge", "SSN", "412-55-9031", "folder", "é", "漢", "a"]), max_size=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(WORDS, max_size=4), context=st.integers(4, 40), bos=st.booleans(), end=st.booleans())
def test_every_token_of_a_text_is_in_exactly_one_window(
    texts: list[list[str]], context: int, bos: bool, end: bool, new_tokenizer: Callable[..., Any]
) -> None:
    tokenizer = new_tokenizer(bos=bos, end=end)
    text = [" ".join(words) for words in texts]
    found = windows(tokenizer, text, context)
    assert all(len(window) <= context for window in found)
    special = set(tokenizer.all_special_ids)
    whole = [ids for ids in (tokenizer(list(text))["input_ids"] if text else []) if len(ids) > 1]
    assert [token for window in found for token in window if token not in special] == [
        token for ids in whole for token in ids if token not in special
    ]
    short = [tuple(ids) for ids in whole if len(ids) <= context]
    assert [window for window in found if window in set(short)] == short or len(short) < len(whole)
    for window in found:
        assert (window[0] == 0) == bos and (window[-1] == 1) == end, "special tokens as in every text"
