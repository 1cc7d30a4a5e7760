"""Tokens that hold a part of a character: they are separators only where the character is one."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from revs.targets.rarity import rarest


def byte_level() -> Any:
    """Every byte is a token, as for what a byte-level BPE has not learnt."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def byte_fallback() -> Any:
    """Letters of ASCII are tokens, and every other character falls back to its bytes."""
    known = [chr(code) for code in range(33, 127)] + ["\u2581"]
    vocab = {f"<0x{byte:02X}>": byte for byte in range(256)} | {c: 256 + n for n, c in enumerate(known)}
    vocab["<unk>"] = len(vocab)
    inner = Tokenizer(BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=inner)


WORDS = [
    ("\u0158eh\u00e1k", "\u0158eh\u00e1k", "a Czech name: all of it"),
    ("\u0160\u0165\u00e1vov\u00e1", "\u0160\u0165\u00e1vov\u00e1", "accents side by side"),
    ("Jos\u00e9\u2014Ng", "Jos\u00e9Ng", "a dash of three bytes between two names"),
    ("\u7530\u4e2d", "\u7530\u4e2d", "characters of three bytes"),
    ("a\u00b7b", "ab", "a dot of two bytes"),
    ("a-b", "ab", "a hyphen"),
    ("\u2014\u2026", "\u2014\u2026", "separators only: better these than nothing"),
]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
@pytest.mark.parametrize(("secret", "taken", "why"), WORDS, ids=[row[2] for row in WORDS])
def test_every_token_of_a_letter_is_taken_and_none_of_a_separator(make: Any, secret: str, taken: str, why: str) -> None:
    tokenizer = make()
    ids = tokenizer(secret, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode([ids[place] for place in rarest(tokenizer, ids, None, None)]) == taken
