"""Text in plain characters: blanks, digits, hyphens and letters of any kind as those of ASCII, no invisible ones.

For detection, whose expressions then need not know a thin space from another. Unlike folding
(infra/identifiers/normalise.py), by which known identifiers are compared, it keeps letters and their case, and lines.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache

from infra.identifiers.normalise import fold_character
from infra.identifiers.readings import Reading, spliced

_HYPHENS = "\u2010\u2011\u2012\u2212\ufe63\uff0d"
_LINE_ENDS = "\u0085\u2028\u2029"
_WIDE = re.compile("[\uff01-\uff5e]*[\uff10-\uff19\uff20\uff21-\uff3a\uff41-\uff5a][\uff01-\uff5e]*")
"""Full-width forms among which a letter, a digit or an @ stands: others are the punctuation of Chinese and Japanese."""
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_LIGATURES = {chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_MARKS = "".join(map(chr, (*range(0x0300, 0x034F), *range(0x0350, 0x0370))))
"""Marks that stand after their letter, as in the names of files on some systems."""
_BEYOND = "\U00010000-\U0010ffff"


def plain(text: str) -> Reading | None:
    """`text` in plain characters; None where it is already."""
    if text.isascii() or not _odd().search(text):
        return None
    same_length = _WIDE.sub(_narrowed, text).translate(_one_to_one())
    tokens = [(hit.start(), ((_read(hit[0]), len(hit[0])),)) for hit in _changing().finditer(same_length)]
    if not tokens and same_length == text:
        return None
    return spliced(same_length, tokens)


def _read(changing: str) -> str:
    """What is read instead: of a letter with its marks one character where there is one, of a ligature its letters."""
    if changing[0].isalpha() and changing not in _LIGATURES:
        return unicodedata.normalize("NFC", changing)
    return _LIGATURES.get(changing, "")


def _narrowed(wide: re.Match[str]) -> str:
    return wide[0].translate(_NARROW)


@cache
def _one_to_one() -> dict[int, str]:
    """Characters that are read as one other: blanks, decimal digits, hyphens, and letters in a font."""
    table: dict[int, str] = dict.fromkeys(map(ord, _HYPHENS), "-") | dict.fromkeys(map(ord, _LINE_ENDS), "\n")
    for code in range(0x80, 0x20000):
        character = chr(code)
        if code in table or 0xFF00 <= code < 0xFF60:
            continue
        if character.isspace():
            table[code] = " "
        elif character.isdecimal():
            table[code] = str(unicodedata.decimal(character))
        elif unicodedata.decomposition(character).startswith("<font>"):
            table[code] = unicodedata.normalize("NFKC", character)
    return table


@cache
def _invisible() -> frozenset[str]:
    return frozenset(
        c for c in map(chr, range(0x80, sys.maxunicode + 1)) if c.isprintable() is False and _is_gone(c)
    ) | (frozenset(map(chr, (0x034F, *range(0xFE00, 0xFE10), *range(0x180B, 0x180E), *range(0xE0100, 0xE01F0)))))


def _is_gone(character: str) -> bool:
    return unicodedata.category(character) == "Cf" and fold_character(character) == ""


@cache
def _changing() -> re.Pattern[str]:
    """Runs of invisible characters, ligatures one by one, and letters with the marks that stand after them."""
    return re.compile(f"[{''.join(sorted(_invisible()))}]+|[{''.join(_LIGATURES)}]|[^\\W\\d_][{_MARKS}]+")


@cache
def _odd() -> re.Pattern[str]:
    """Any of these below U+10000, by one look-up a character, and whatever is beyond."""
    below = {*map(chr, _one_to_one()), *_invisible(), *_LIGATURES, *map(chr, _NARROW), *_MARKS}
    return re.compile(f"[{''.join(sorted(c for c in below if ord(c) < 0x10000))}{_BEYOND}]")
