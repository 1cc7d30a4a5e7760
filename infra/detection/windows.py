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

BLANKS = " \n\t"
EDGE = 8
"""Characters beside a digit run that a recogniser may look at."""


class Window(NamedTuple):
    """`text[start:end]` is read; findings count within `first` to `last`. All are offsets of the whole text."""

    start: int
    end: int
    first: int
    last: int


Windows = Callable[[str], Iterator[Window]]


def whole(text: str) -> Iterator[Window]:
    """The text as one window."""
    yield Window(start=0, end=len(text), first=0, last=len(text))


def tokens(probe: re.Pattern[str]) -> Windows:
    """Stretches between blanks (space, tab, line feed) that hold a hit of the probe."""
    return lambda text: _tokens(probe, text)


def runs(probe: re.Pattern[str], holding: str = "") -> Windows:
    """The hits of the probe that hold a match of `holding`, with `EDGE` characters on either side to look at."""
    wanted = re.compile(holding)
    return lambda text: _runs(probe, wanted, text)


def reaches(probe: re.Pattern[str], reach: int) -> Windows:
    """From each hit of the probe `reach` characters on; hits within the reach of one before share its window."""
    return lambda text: _reaches(probe, reach, text)


def _runs(probe: re.Pattern[str], wanted: re.Pattern[str], text: str) -> Iterator[Window]:
    for first, last in _hits(probe, text):
        if wanted.search(text, first, last):
            yield _with_edge(text, first, last)


@lru_cache(maxsize=1)
def _hits(probe: re.Pattern[str], text: str) -> tuple[tuple[int, int], ...]:
    """Three recognisers in turn ask for the digit runs of one text."""
    return tuple(hit.span() for hit in probe.finditer(text))


def _tokens(probe: re.Pattern[str], text: str) -> Iterator[Window]:
    end = 0
    hit = probe.search(text)
    while hit:
        start = max(text.rfind(blank, end, hit.start()) for blank in BLANKS) + 1 or end
        end = _next_blank(text, hit.end())
        yield Window(start=start, end=end, first=start, last=end)
        hit = probe.search(text, end)


def _next_blank(text: str, position: int) -> int:
    found = _BLANK.search(text, position)
    return found.start() if found else len(text)


_BLANK = re.compile(f"[{BLANKS}]")


def _reaches(probe: re.Pattern[str], reach: int, text: str) -> Iterator[Window]:
    first = last = -1
    for hit in probe.finditer(text):
        if first >= 0 and hit.start() > last:
            yield _with_edge(text, first, last)
            first = -1
        first = hit.start() if first < 0 else first
        last = min(len(text), hit.start() + reach)
    if first >= 0:
        yield _with_edge(text, first, last)


def _with_edge(text: str, first: int, last: int) -> Window:
    return Window(start=max(0, first - EDGE), end=min(len(text), last + EDGE), first=first, last=last)
