"""The stretches of a text on which a recogniser has to decide.

A recogniser names a cheap expression (its probe) and how a hit grows to a window that no finding of its type can leave:
to the blanks around it, or to the digit run itself with a few characters more, so that what stands beside can be seen.
Windows of one text do not overlap in the part that counts (`first` to `last`); a finding outside that part is dropped.
Deciding on the windows then gives what deciding on the whole text gives; a property test holds it to that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from infra.detection.shapes import digit_runs

_BLANK = re.compile(r"[ \n\t]")
EDGE = 10
"""Characters beside a digit run that a recogniser may look at: those of a label that touches it, and two more."""


class Window(NamedTuple):
    """`text[start:end]` is read; findings count within `first` to `last`. All are offsets of the whole text."""

    start: int
    end: int
    first: int
    last: int


Windows = Callable[[str], Iterator[Window]]


def whole(text: str) -> Iterator[Window]:
    """The text as one window."""
    yield Window(0, len(text), 0, len(text))


def tokens(probe: re.Pattern[str]) -> Windows:
    """Stretches between blanks (space, tab, line feed) that hold a hit of the probe."""
    return lambda text: _tokens(probe, text)


def runs(holding: str = "", *, ending: re.Pattern[str] | None = None) -> Windows:
    """The rows of digits that hold a match of `holding`, with `EDGE` characters on either side to look at.

    A match of `ending` right after a row belongs to it.
    """
    wanted = re.compile(holding) if holding else None
    return lambda text: _runs(wanted, ending, text)


def reaches(probe: re.Pattern[str], reach: int, *, lead: int = 0) -> Windows:
    """From `lead` before each hit of the probe `reach` characters on; hits within the reach of one share its window."""
    return lambda text: _reaches(probe, reach, lead, text)


def _runs(wanted: re.Pattern[str] | None, ending: re.Pattern[str] | None, text: str) -> Iterator[Window]:
    for first, last in _digit_runs(text):
        if wanted is None or wanted.search(text, first, last):
            more = ending.match(text, last) if ending else None
            yield _with_edge(text, first, more.end() if more else last)


_digit_runs = lru_cache(maxsize=1)(digit_runs)  # three recognisers in turn ask for those of one text


def _tokens(probe: re.Pattern[str], text: str) -> Iterator[Window]:
    end = 0
    hit = probe.search(text)
    while hit:
        begin, rfind = hit.start(), text.rfind
        start = max(rfind(" ", end, begin), rfind("\n", end, begin), rfind("\t", end, begin)) + 1 or end
        blank = _BLANK.search(text, hit.end())
        end = blank.start() if blank else len(text)
        yield Window(start, end, start, end)
        hit = probe.search(text, end)


def _reaches(probe: re.Pattern[str], reach: int, lead: int, text: str) -> Iterator[Window]:
    first = last = -1
    for hit in probe.finditer(text):
        start = max(0, hit.start() - lead)
        if first >= 0 and start > last:
            yield _with_edge(text, first, last)
            first = -1
        first = start if first < 0 else first
        last = min(len(text), start + reach)
    if first >= 0:
        yield _with_edge(text, first, last)


def _with_edge(text: str, first: int, last: int) -> Window:
    return Window(first - EDGE if first > EDGE else 0, min(len(text), last + EDGE), first, last)
