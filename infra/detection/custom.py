r"""Recognisers that a customer states in a YAML file: identifiers by pattern and by list.

    recognisers:
      - name: staff number
        type: STAFF_NUMBER        # default CUSTOM
        pattern: 'S-\d{6}'
        score: 0.3                # default 0.85; 0.35 more behind a word of the context
        context: [staff, employee]
      - name: project names
        values: [Bluebird, 'Heron 7']
        ignore_case: true

A pattern that can take exponential time is refused where its form shows it, and stopped where its run does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from infra import boundaries
from infra.detection.recogniser import Recogniser, Spans, deciding_by
from infra.detection.windows import whole
from revs.errors import BadInput

SECONDS = 1.0
"""Longest that one pattern may take on one text."""
LEAST_CHARACTERS = 3
"""Fewest characters of a listed value; a shorter one would stand everywhere."""
_KEYS = frozenset({"name", "type", "pattern", "values", "score", "context", "ignore_case"})
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{1,39}")
_REACH, _STEP = 48, 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRecogniser:
    """One entry of the file.

    Exactly one of `pattern` (an expression of the `regex` module) and `values` (matched where they stand alone) is
    given; `score` lies above 0 and at most at 1.
    """

    name: str
    type: str = "CUSTOM"
    pattern: str = ""
    values: tuple[str, ...] = ()
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
            _check_pattern(where, self.pattern)


def read_recognisers(path: Path) -> tuple[CustomRecogniser, ...]:
    """The recognisers of a YAML file.

    Raises:
        BadInput: the file is missing or no such YAML, a key is unknown, or a value is out of its bounds.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BadInput(f"recognisers {str(path)!r} cannot be read ({reason}); check the path") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise BadInput(
            f"recognisers {str(path)!r} are not valid YAML{line}; check the indentation and quotes"
        ) from None
    entries = document.get("recognisers") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(entries, list) or not entries:
        raise BadInput(f"recognisers {str(path)!r}: the file needs one key, 'recognisers', with a list of them")
    return tuple(_entry(number, entry) for number, entry in enumerate(entries, start=1))


def build(stated: CustomRecogniser) -> Recogniser:
    """The recogniser that decides as stated, on whole texts: what a pattern can reach is not known."""
    spans = _weighed(stated, _pattern_spans(stated) if stated.pattern else _value_spans(stated))
    return Recogniser(
        type=stated.type, presidio=deciding_by(stated.type, spans), spans=spans, windows=whole, labelled=False
    )


def _entry(number: int, entry: object) -> CustomRecogniser:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadInput(f"recogniser {number}: each entry is a mapping with a name")
    where = f"recogniser {entry['name']!r}"
    unknown = sorted(str(key) for key in entry.keys() - _KEYS)
    if unknown:
        raise BadInput(f"{where}: unknown key {unknown[0]!r}; choose from {', '.join(sorted(_KEYS))}")
    for key, kind in (("type", str), ("pattern", str), ("ignore_case", bool)):
        if key in entry and not isinstance(entry[key], kind):
            raise BadInput(f"{where}: {key} is {type(entry[key]).__name__}, not {kind.__name__}; put it in quotes")
    score = entry.get("score", 0.85)
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise BadInput(f"{where}: score is no number; give one above 0 and at most 1")
    lists = {key: _strings(where, key, entry[key]) for key in ("values", "context") if key in entry}
    return CustomRecogniser(**{**entry, **lists, "score": float(score)})


def _strings(where: str, key: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or not all(isinstance(value, str) for value in given):
        raise BadInput(f"{where}: {key} is no list of strings; put numbers in quotes")
    return tuple(given)


def _check_pattern(where: str, pattern: str) -> None:
    import regex

    try:
        compiled = regex.compile(pattern)
        parsed = _parser.parse(pattern)
    except (regex.error, re.error, RecursionError, OverflowError) as error:
        reason = str(getattr(error, "msg", "too deep"))
        raise BadInput(f"{where}: the pattern is no regular expression ({reason}); correct it") from None
    if compiled.search("") is not None:
        raise BadInput(f"{where}: the pattern matches empty text; let it need at least one character")
    if _nests_repeats(parsed, within=False):
        raise BadInput(f"{where}: a repeat inside a repeat can take exponential time; bound or separate them")


def _nests_repeats(parsed: Any, *, within: bool) -> bool:
    """Whether an unbounded repeat holds another repeat of no fixed length: the form behind exponential matching."""
    for operation, argument in parsed:
        if str(operation) in {"MAX_REPEAT", "MIN_REPEAT"}:
            low, high, body = argument
            many = high > 100
            if (within and low != high) or _nests_repeats(body, within=within or many):
                return True
        elif any(_nests_repeats(part, within=within) for part in _parts_of(argument)):
            return True
    return False


def _parts_of(argument: Any) -> Iterator[Any]:
    """Sub-expressions inside the argument of an operation."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _parts_of(part)


def _pattern_spans(stated: CustomRecogniser) -> Callable[[str], Iterator[tuple[int, int]]]:
    import regex

    compiled = regex.compile(stated.pattern, regex.IGNORECASE if stated.ignore_case else 0)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        try:
            for match in compiled.finditer(text, timeout=SECONDS):
                if match.end() > match.start():
                    yield match.start(), match.end()
        except TimeoutError:
            reason = f"took more than {SECONDS:g} s on one text of {len(text)} characters; simplify it"
            raise BadInput(f"recogniser {stated.name!r}: the pattern {reason}") from None

    return spans


def _value_spans(stated: CustomRecogniser) -> Callable[[str], Iterator[tuple[int, int]]]:
    from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

    def folded(text: str) -> str:
        lower = text.lower() if stated.ignore_case else text
        return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)

    wanted = [folded(value.strip()) for value in stated.values]
    automaton = AhoCorasick(wanted, matchkind=MatchKind.Standard, implementation=Implementation.ContiguousNFA)

    def spans(text: str) -> Iterator[tuple[int, int]]:
        haystack = folded(text)
        for _, start, end in automaton.find_matches_as_indexes(haystack, overlapping=True):
            if boundaries.stands_alone(haystack, start, end, "CUSTOM"):
                yield start, end

    return spans


def _weighed(stated: CustomRecogniser, places: Callable[[str], Iterator[tuple[int, int]]]) -> Callable[[str], Spans]:
    words = "|".join(re.escape(word.lower()) for word in stated.context)
    context = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None

    def spans(text: str) -> Spans:
        for start, end in places(text):
            near = context is not None and context.search(text[max(0, start - _REACH) : start].lower())
            yield start, end, min(1.0, stated.score + _STEP) if near else stated.score

    return spans
