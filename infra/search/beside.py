"""Escapes right beside a match: what they stand for may make it a part of something longer.

`a@example.com%2Ecz` holds no a@example.com, and `%2B44 415 555 0132` is a number of another country. A letter or digit
is never written as an escape beside others that are not, so only signs and blanks tell.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import NamedTuple

from infra.identifiers.escapes import MARKS
from infra.identifiers.normalise import fold
from infra.identifiers.readings import decoded

_NEAR = 32
_LEADING = 16
"""Characters in front of a phone number in which the sign of a country code may stand."""
_TELLS = re.compile(r"[=%](?=2[0bde]|40|5f)|&|\\+(?=[ux0-9.\-_+@ ])")


class Beside(NamedTuple):
    """The neighbourhood of a match without its escapes, folded, and where the match begins and ends in it."""

    text: str
    start: int
    end: int


def may_matter(folded: str, start: int, end: int, type_: str) -> bool:
    """Whether an escape may stand beside `folded[start:end]` that is not a letter, a line end or a quote; fast."""
    if end < len(folded) and folded[end] in MARKS and _TELLS.match(folded, end):
        return True
    if start and folded[start - 1] == ";":
        return "&" in folded[max(start - _NEAR, 0) : start]
    if type_ != "PHONE_NUMBER" or not start:
        return False
    return _TELLS.search(folded, max(start - _LEADING, 0), start) is not None


def beside(text: str, start: int, end: int) -> Beside | None:
    """What stands around `text[start:end]` without escapes; None where none is beside it, or one is within it."""
    low = max(start - _NEAR, 0)
    reading = decoded(text[low : end + _NEAR])
    if reading is None:
        return None
    start, end = start - low, end - low
    moved = 0
    for first, last, meaning in reading.tokens:
        if first < end and start < last:
            return None  # of the reading without it nothing is known here
        if (last == start or first == end) and (not meaning or meaning[0 if first == end else -1].isalnum()):
            return None
        if last <= start:
            moved += len(meaning) - (last - first)
    near = fold(reading.text)
    begins = bisect_left(near.starts, start + moved)
    ends = bisect_left(near.ends, end + moved) + 1
    if ends > len(near.text) or near.starts[begins] != start + moved or near.ends[ends - 1] != end + moved:
        return None
    return Beside(near.text, begins, ends)
