"""Phone numbers: possible in a numbering plan, and written as one writes them there.

An international number has to be of a possible length after its +, and valid or parted after 00. A national one has
to be grouped as one of the plans groups such numbers. Where the plan has a trunk prefix 0, and it is written, the
places where the number is parted are among those of the plan's own writing, or the other way round (the range may be
newer than the plan at hand); elsewhere the number has to be valid and parted in the same places. Anything else that a
plan could issue counts only with a label before it (infra/detection/context.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial

from infra.detection.recogniser import Recogniser
from infra.detection.shapes import WORD, digit_runs, digits_of
from infra.detection.windows import runs
from infra.identifiers.boundaries import is_label
from infra.identifiers.numbering import REGIONS, is_written_so, plans_for
from infra.identifiers.phones import EXTENSION

WELL_WRITTEN = 0.4
POSSIBLE = 0.05
MOST_DIGITS = 17
MOST_GROUPS = 12
"""Of a longer row of figures only the first ones are tried for a number among them."""

_PARTS = re.compile(
    r" (?=\d{4}([ \-])\d{4}\1\d{4}\1\d{4})"  # a card begins
    r"|[ \u00a0]{2,}|[ \u00a0]?/[ \u00a0]|\s-\s|\)\s\)"
    r"|(?<=\d)(?=\s?[+(])(?!\s?\(0?\d{1,4}\)[\s\-]?\d)"  # another number begins, not an area in brackets
)
_DATE = re.compile(
    r"(?:19|20)\d\d([-./])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])|(?:\d{1,2}([-./ ])){2}(?:19|20)\d\d"
)
_SSN = re.compile(r"\d{3}([ .\-])\d{2}\1\d{4}")
_WORD = re.compile(WORD)
_TIES = re.compile(rf"{WORD}|[$€£]")
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_TRUNK_IN_BRACKETS = re.compile(r"\(0\)")
_BLANK = re.compile(r"[ \u00a0]")
_LIKE_A_CARD = re.compile(r"\d{4}[ \-]\d{4}[ \-]\d{4}")
_GROUP = re.compile(r"\d+")
_ODD = re.compile(r"[\-.]{2}|\.\s|\s\.|^[\d ]+\.\d+$|(?:^| )\d\.\d+(?= |$)")


Regions = tuple[str, ...]


def build(regions: Regions = REGIONS) -> Recogniser:
    """The recogniser of PHONE_NUMBER; national writings are known of these regions, ISO 3166 codes."""
    return Recogniser(type="PHONE_NUMBER", spans=partial(spans, regions=regions), windows=runs(ending=EXTENSION))


def spans(text: str, regions: Regions = REGIONS) -> Iterator[tuple[int, int, float]]:
    """Start, end and score of every phone number in the text."""
    for run in digit_runs(text):
        for start, end in _parts(text, *run):
            yield from _best(text, start, end, regions)


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if _TIES.match(before[-1:]) and not is_label("PHONE_NUMBER", text, start - before.endswith("_")):
        return False
    if _WORD.match(after[:1]) and not EXTENSION.match(text, end):
        return False
    tied_before = before[-1:] in {".", "-"} and before[:1].isalnum()
    tied_after = after[:1] in {".", "-", ":"} and after[1:].isalnum()
    return not (tied_before or tied_after)


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The run, parted where two numbers meet."""
    for cut in _PARTS.finditer(text, start, end):
        yield start, cut.start()
        start = cut.end()
    yield start, end


def _best(text: str, start: int, end: int, regions: Regions) -> Iterator[tuple[int, int, float]]:
    """The part; or, where that is no number, the best of what is left of it without some of its groups."""
    whole = _scored(text, start, end, regions)
    found = [whole] if whole else [s for edges in _shorter(text, start, end) if (s := _scored(text, *edges, regions))]
    if found:
        yield max(found, key=lambda span: (span[2], span[1] - span[0]))


def _shorter(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The part without its first group, without its last, and what begins as numbers do: with +, ( or 0."""
    if _LIKE_A_CARD.match(text, start, end):
        return
    edges = [start, *(blank.end() for blank in _BLANK.finditer(text, start, end)), end + 1][: MOST_GROUPS + 2]
    if len(edges) < 3:
        return
    yield edges[1], end
    yield start, edges[-2] - 1
    for first, begin in enumerate(edges[:-2]):
        if text[begin] in "+(0":
            yield from ((begin, last - 1) for last in edges[first + 1 : first + 6])


def _scored(text: str, start: int, end: int, regions: Regions) -> tuple[int, int, float] | None:
    while start < end and not (text[start].isdigit() or text[start] in "+("):
        start += 1
    while end > start and not text[end - 1].isdigit():
        end -= 1
    written = text[start:end]
    if written.startswith("(") and ")" not in written:
        start, written = start + 1, written[1:]
    if not _stands_alone(text, start, end):
        return None
    score = _score(written, regions)
    extension = EXTENSION.match(text, end) if score else None
    return (start, extension.end() if extension else end, score) if score else None


@lru_cache(maxsize=4096)  # dates and times come again and again
def _score(written: str, regions: Regions) -> float:
    digits = digits_of(written)
    if not 7 <= len(digits) <= MOST_DIGITS or _is_something_else(written):
        return 0.0
    if written.lstrip("(").startswith("+"):
        return _score_international(digits_of(_TRUNK_IN_BRACKETS.sub("", written)), if_possible=WELL_WRITTEN)
    groups = tuple(len(group) for group in _GROUP.findall(written))
    if digits.startswith("00"):
        grouped = WELL_WRITTEN if len(groups) > 2 else POSSIBLE
        return _score_international(digits_of(_TRUNK_IN_BRACKETS.sub("", written))[2:], if_possible=grouped)
    return _score_national(digits, groups, regions)


def _is_something_else(written: str) -> bool:
    return bool(_DATE.match(written) or _SSN.fullmatch(written) or _IP.fullmatch(written) or _ODD.search(written))


def _score_international(digits: str, *, if_possible: float) -> float:
    import phonenumbers

    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return 0.0
    if phonenumbers.is_valid_number(number):
        return WELL_WRITTEN
    return if_possible if phonenumbers.is_possible_number(number) else 0.0


def _score_national(digits: str, groups: tuple[int, ...], regions: Regions) -> float:
    if len(groups) > 1 and is_written_so(digits, groups, regions):
        return WELL_WRITTEN
    return POSSIBLE if plans_for(digits[:2], len(digits), regions) else 0.0
