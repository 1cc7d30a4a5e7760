"""What the recognisers share: separators, scripts without spaces, runs of digits, checksums, hosts."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

from infra.identifiers.boundaries import LABELS

BLANK = " \\u00a0\\u202f"
DASH = "\\-\\u2010-\\u2015\\u2212"
UNSPACED = (
    "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3000-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af"
    "\\uf900-\\ufaff\\uff00-\\uffef"
)
"""Scripts whose words stand without spaces (and their punctuation): their letters are no part of what they touch."""

WORD = rf"(?:(?![{UNSPACED}])\w)"
"""A letter, digit or _ that ties what it touches into one word."""
LABEL = rf"(?:(?![{UNSPACED}_])\w)+(?:-+(?:(?![{UNSPACED}_])\w)+)*"
"""One of the parts of a host's name."""
HOST = rf"{LABEL}(?:\.{LABEL})+"


def touching(type_: str, free: str, first: str) -> str:
    """An expression for what may stand before: what `free` says, or a label of this type, as in `SSN219-41-5522`.

    `first` is what follows begins with; looked at first, because that is soon decided. So is that no label ends here:
    each ends in a letter or `_`.
    """
    labels = "|".join(rf"(?<=\b{label})|(?<=\b{label}_)" for label in LABELS[type_])
    return rf"(?={first})(?:{free}|(?<=[^\W\d])(?i:{labels}))"


SPECIAL_USE = frozenset({"example", "invalid", "localhost", "test", "local", "internal", "onion"})
"""Top-level names outside the public-suffix list: RFC 2606, 6761, 6762, 7686, and ICANN's `internal`."""

_SEPARATOR = f"[{BLANK}().{DASH}/]"
_RUN = re.compile(rf"\d(?:{_SEPARATOR}{{0,3}}\d){{6,}}")
_OPENING = "+("
_NO_DIGIT = re.compile(r"[^0-9]")


@cache
def suffixes() -> Any:
    """The public-suffix list that is packed with tldextract: nothing is downloaded or cached."""
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None)


@lru_cache(maxsize=4096)
def has_public_suffix(host: str) -> bool:
    """Whether the host is a name under a public suffix, as `example.co.uk` is."""
    found = suffixes()(host)
    return bool(found.domain and found.suffix)


def has_known_suffix(host: str) -> bool:
    """Whether the host lies under a public suffix, or under a top-level name that standards set aside."""
    return has_public_suffix(host) or host.rpartition(".")[2].lower() in SPECIAL_USE


def digit_runs(text: str) -> list[tuple[int, int]]:
    """Start and end of every row of at least seven digits with at most three separators between two.

    No number runs past the ends of one. Up to three characters `+` or `(` before it belong to it; they are looked at
    last, because an expression that begins with a digit is searched four times as fast.
    """
    found, end = [], 0
    for run in _RUN.finditer(text):
        start = run.start()
        least = max(end, start - 3)
        while start > least and text[start - 1] in _OPENING:
            start -= 1
        end = run.end()
        found.append((start, end))
    return found


def digits_of(text: str) -> str:
    """The decimal digits of the text as 0-9."""
    if text.isascii():
        return _NO_DIGIT.sub("", text)
    return "".join(str(int(character)) for character in text if character.isdecimal())
