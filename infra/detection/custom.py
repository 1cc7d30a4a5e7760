"""Recognisers of a customer's own identifiers, by pattern and by list; infra/detection/config.py reads them from YAML.

A list becomes one Aho-Corasick automaton, never one expression: its time does not grow with the number of values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from infra.detection.backtracking import Limits, check_pattern
from infra.detection.findings import Stopped
from infra.detection.recogniser import Recogniser, Spans
from infra.detection.windows import whole
from infra.identifiers import boundaries
from revs.errors import BadInput

LEAST_CHARACTERS = 3
"""Fewest characters of a listed value; a shorter one would stand everywhere."""
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_REACH, _STEP = 48, 0.35

Places = Iterable[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRecogniser:
    """One recogniser.

    Exactly one of `pattern` (an expression of the `regex` module) and `values` (matched where they stand alone) is
    given; `score` lies above 0 and at most at 1, and a word of `context` before a match adds 0.35.
    """

    name: str
    type: str = "CUSTOM"
    pattern: str = ""
    values: tuple[str, ...] = field(default=(), repr=False)
    score: float = 0.85
    context: tuple[str, ...] = ()
    ignore_case: bool = False

    def __post_init__(self) -> None:
        where = f"recogniser {self.name!r}"
        if bool(self.pattern) == bool(self.values):
            raise BadInput(f"{where}: give either a pattern or values, and not an empty one")
        if not _TYPE.fullmatch(self.type):
            raise BadInput(f"{where}: type {self.type!r} is no name like STAFF_NUMBER; use capitals, digits and _")
        if not 0 < self.score <= 1:
            raise BadInput(f"{where}: score {self.score} is not above 0 and at most 1")
        if any(len(value.strip()) < LEAST_CHARACTERS for value in self.values):
            raise BadInput(f"{where}: a value has fewer than {LEAST_CHARACTERS} characters; it would stand everywhere")
        if self.pattern:
            check_pattern(where, self.pattern)


def build(stated: CustomRecogniser, limits: Limits | None = None) -> Recogniser:
    """The recogniser that decides as stated, on whole texts: what a pattern can reach is not known."""
    timed = _pattern_spans(stated, limits or Limits()) if stated.pattern else None
    spans = _list_spans(stated) if timed is None else _without_clock(timed)
    return Recogniser(
        type=stated.type,
        name=stated.name,
        spans=spans,
        timed=timed,
        windows=whole,
        labelled=False,
    )


def _without_clock(timed: Callable[[str, float], Spans]) -> Callable[[str], Spans]:
    return lambda text: timed(text, math.inf)


def _pattern_spans(stated: CustomRecogniser, limits: Limits) -> Callable[[str, float], Spans]:
    import regex

    context = _context(stated)
    compiled = regex.compile(stated.pattern, regex.IGNORECASE if stated.ignore_case else 0)
    stops = 0

    def spans(text: str, seconds: float) -> Spans:
        nonlocal stops
        seconds = min(seconds, limits.for_pattern(text))
        if stops >= limits.stops:
            raise Stopped("was left out", f"it took too long on {limits.stops} texts before")
        try:
            # a list, so that the clock runs for the pattern alone
            places = [match.span() for match in compiled.finditer(text, timeout=seconds) if match.end() > match.start()]
        except TimeoutError:
            stops += 1
            raise Stopped("took too long", f"more than {seconds:.2g} s on a text of {len(text)} characters") from None
        return _weighed(stated, context, text, places)

    return spans


def _list_spans(stated: CustomRecogniser) -> Callable[[str], Spans]:
    from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

    context = _context(stated)
    fold = _lowered if stated.ignore_case else str
    wanted = list({fold(value.strip()) for value in stated.values})
    automaton = AhoCorasick(wanted, matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)

    def places(text: str) -> Iterator[tuple[int, int]]:
        haystack = fold(text)
        for _, start, end in automaton.find_matches_as_indexes(haystack, overlapping=True):
            if boundaries.stands_alone(haystack, start, end, "CUSTOM"):
                yield start, end

    return lambda text: _weighed(stated, context, text, places(text))


def _lowered(text: str) -> str:
    """Lower case, of the same length: a letter that would grow stays as it is."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _context(stated: CustomRecogniser) -> re.Pattern[str] | None:
    words = "|".join(re.escape(word.lower()) for word in stated.context)
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None


def _weighed(stated: CustomRecogniser, context: re.Pattern[str] | None, text: str, places: Places) -> Spans:
    for start, end in places:
        near = context is not None and context.search(text[max(0, start - _REACH) : start].lower())
        yield start, end, min(1.0, stated.score + _STEP) if near else stated.score
