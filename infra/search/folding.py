"""The folded text of infra/normalise.py without its offsets, at the speed of C: most rows hold nothing that is sought."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from infra.normalise import SEPARATORS, fold, fold_character

ROW_END = "\n"
"""Stands between folded rows: no folded text holds it, and no identifier."""
NUL = "\x00"
_FAR_SEPARATORS = "".join(character for character in SEPARATORS if not character.isascii())
_SPACES = re.compile("  +")
_MARK_ON_SPACE = re.compile(r"\s[^\x00-\x7f]")

ASCII_TABLE = bytes(
    ord(ROW_END) if c == 0 else ord(fold_character(chr(c).lower())) if c < 128 else c for c in range(256)
)
"""Folds ASCII bytes one to one; NUL, put between rows, becomes `ROW_END`."""


def folded_text(text: str) -> str:
    """`fold(text).text`."""
    normal = unicodedata.normalize("NFKC", text)
    folded = _odd().sub(lambda odd: fold_character(odd[0]), normal.casefold())
    if "  " not in folded:
        return folded
    if any(unicodedata.combining(hit[0][1]) for hit in _MARK_ON_SPACE.finditer(normal)):
        return fold(text).text  # a space that carries a mark is none of a run of spaces
    return _SPACES.sub(" ", folded)


def without_far_separators(folded: str) -> str:
    """The text with every separator of numbers that is not ASCII as a hyphen; as many characters."""
    if folded.isascii():
        return folded
    for separator in _FAR_SEPARATORS:
        folded = folded.replace(separator, "-")
    return folded


@cache
def _odd() -> re.Pattern[str]:
    """Matches what folding may change after Unicode normalisation: white space, digits, invisible characters.

    Written as what it does not match below U+10000, because a class of these alone is one table lookup a character.
    """
    fine = [code for code in range(0x10000) if fold_character(chr(code)) == chr(code)]
    ranges: list[list[int]] = []
    for code in fine:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[^" + "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges) + "]")
