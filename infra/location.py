"""Where the identifiers of deletion requests stand in a corpus, and which other identifiers stand elsewhere.

All identifiers are sought in one pass per stream of normalised text (infra/normalise.py) with Aho-Corasick automata, so
the time does not grow with their number. A match counts where it stands alone (infra/boundaries.py).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra import boundaries
from infra.normalise import (
    MAX_SEPARATORS,
    Folded,
    Stream,
    compact,
    fold,
    kept_positions,
    normal_form,
    same_case,
    search_forms,
    stream_of,
)
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.corpus import Corpus
    from infra.detection import Detector, Finding
    from infra.requests import Identifier

MIN_CHARACTERS = 4
"""Fewest characters of a normal form that can be sought; shorter ones stand everywhere."""
_NAMED_AT_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """An identifier of a request at `corpus.text(row)[start:end]`; `identifier` is its index in the request, from 0.

    An identifier that belongs to no request has `request_id` "" and `identifier` -1.
    """

    request_id: str
    identifier: int
    type: str
    row: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What the detector sees at an occurrence: the type and score (0 to 1) of the best finding that overlaps it."""

    occurrence: Occurrence
    detected_type: str | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sought:
    request_id: str
    index: int
    type: str
    value: str = field(repr=False)
    forms: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    sought: _Sought
    start: int
    end: int


def unsearchable(identifiers: Mapping[str, Sequence[Identifier]]) -> dict[str, str]:
    """Requests that `locate` refuses, with the reason; no reason shows a value."""
    reasons: dict[str, str] = {}
    for request_id, wanted in identifiers.items():
        for index, identifier in enumerate(wanted):
            length = len(normal_form(identifier.type, identifier.value))
            if length < MIN_CHARACTERS:
                reasons.setdefault(
                    request_id,
                    f"identifier {index} ({identifier.type}) has {length} characters after normalisation, "
                    f"{MIN_CHARACTERS} are needed",
                )
    return reasons


def locate(corpus: Corpus, identifiers: Mapping[str, Sequence[Identifier]]) -> list[Occurrence]:
    """Every place where an identifier stands, by row, start, end, request and index.

    Offsets are in the original text; of several spellings of one identifier at one place the longest is given.
    An identifier named by two requests gives an occurrence for each.

    Raises:
        BadInput: an identifier has fewer than `MIN_CHARACTERS` normalised characters; the message lists the requests.
    """
    reasons = unsearchable(identifiers)
    if reasons:
        some = "; ".join(
            f"request {request_id}: {reason}" for request_id, reason in list(reasons.items())[:_NAMED_AT_MOST]
        )
        more = f"; and {len(reasons) - _NAMED_AT_MOST} more requests" if len(reasons) > _NAMED_AT_MOST else ""
        raise BadInput(f"identifiers too short to be sought: {some}{more}; reject these requests or complete them")
    finders = [finder for finder in _finders(identifiers) if finder]
    found = [occurrence for row, text in corpus for occurrence in _in_row(finders, row, text)] if finders else []
    return sorted(found, key=lambda o: (o.row, o.start, o.end, o.request_id, o.identifier))


def confirm(corpus: Corpus, occurrences: Sequence[Occurrence], detector: Detector) -> list[Detection]:
    """What `detector` sees at each occurrence, in their order; type None and score 0.0 where it sees nothing."""
    findings = {row: detector.find(text) for row, text in corpus.texts(o.row for o in occurrences).items()}
    return [_detection(occurrence, findings[occurrence.row]) for occurrence in occurrences]


def other_identifiers(
    corpus: Corpus, *, exclude_rows: AbstractSet[int], detector: Detector, limit: int, seed: int
) -> list[Occurrence]:
    """At most `limit` detected identifiers from rows outside `exclude_rows`, by row and place.

    Rows are read in an order that depends on `seed` and the number of rows alone, until there are enough.
    """
    rows = [row for row in random.Random(seed).sample(range(len(corpus)), len(corpus)) if row not in exclude_rows]
    found: list[Occurrence] = []
    for row in rows:
        if len(found) >= limit:
            break
        found.extend(_as_occurrence(finding, row) for finding in _one_a_place(detector.find(corpus.text(row))))
    return sorted(found[:limit], key=lambda o: (o.row, o.start, o.end))


class _Finder:
    """One automaton over one stream, with the identifiers behind each of its patterns."""

    def __init__(self, stream: Stream, owners: Mapping[str, Sequence[_Sought]]) -> None:
        from ahocorasick_rs import AhoCorasick, Implementation

        self.stream = stream
        self._owners = list(owners.values())
        # a DFA is faster on few patterns and grows beyond bounds on many
        self._automaton: Any = AhoCorasick(list(owners), implementation=Implementation.ContiguousNFA)

    def find(self, folded: Folded) -> Iterator[tuple[_Sought, int, int]]:
        """Matches in positions of the folded text, not yet checked for what stands around them."""
        haystack = compact(folded.text) if self.stream == "compact" else folded.text
        hits = self._automaton.find_matches_as_indexes(haystack, overlapping=True)
        if not hits:
            return
        positions = kept_positions(folded.text) if self.stream == "compact" else range(len(haystack))
        for pattern, start, end in hits:
            gaps = (positions[i + 1] - positions[i] for i in range(start, end - 1))
            if self.stream == "words" or max(gaps, default=1) <= MAX_SEPARATORS + 1:
                for sought in self._owners[pattern]:
                    yield sought, positions[start], positions[end - 1] + 1


def _finders(identifiers: Mapping[str, Sequence[Identifier]]) -> list[_Finder]:
    owners: dict[Stream, dict[str, list[_Sought]]] = {"words": {}, "compact": {}}
    for request_id, wanted in identifiers.items():
        for index, identifier in enumerate(wanted):
            type_, value = identifier.type, identifier.value
            forms = search_forms(type_, value)
            sought = _Sought(request_id=request_id, index=index, type=type_, value=value, forms=forms)
            for form in forms:
                owners[stream_of(type_)].setdefault(form, []).append(sought)
    return [_Finder(stream, patterns) for stream, patterns in owners.items() if patterns]


def _in_row(finders: Iterable[_Finder], row: int, text: str) -> Iterator[Occurrence]:
    folded = fold(text)
    matches = [
        match
        for finder in finders
        for sought, start, end in finder.find(folded)
        if (match := _checked(text, folded, sought, start, end)) is not None
    ]
    for match in _longest(matches):
        sought = match.sought
        yield Occurrence(
            request_id=sought.request_id,
            identifier=sought.index,
            type=sought.type,
            row=row,
            start=match.start,
            end=match.end,
        )


def _checked(text: str, folded: Folded, sought: _Sought, start: int, end: int) -> _Match | None:
    """The match in offsets of `text`, or None where it is a part of something longer or written otherwise."""
    start = boundaries.with_opening(folded.text, start, sought.type)
    if not boundaries.stands_alone(folded.text, start, end, sought.type):
        return None
    span = folded.span(start, end)
    if span is None:
        return None
    written = text[span[0] : span[1]]
    is_it = normal_form(sought.type, written) in sought.forms and same_case(sought.type, sought.value, written)
    return _Match(sought=sought, start=span[0], end=span[1]) if is_it else None


def _longest(matches: Iterable[_Match]) -> Iterator[_Match]:
    """Of overlapping matches of one identifier the first, and of those the longest."""
    ends: dict[tuple[str, int], int] = {}
    for match in sorted(matches, key=lambda m: (m.start, -m.end)):
        key = (match.sought.request_id, match.sought.index)
        if match.start >= ends.get(key, 0):
            ends[key] = match.end
            yield match


def _detection(occurrence: Occurrence, findings: Iterable[Finding]) -> Detection:
    def rank(finding: Finding) -> tuple[bool, int, float]:
        return finding.type == occurrence.type, _overlap(finding, occurrence), finding.score

    best = max((f for f in findings if _overlap(f, occurrence) > 0), key=rank, default=None)
    if best is None:
        return Detection(occurrence=occurrence, detected_type=None, score=0.0)
    return Detection(occurrence=occurrence, detected_type=best.type, score=best.score)


def _overlap(finding: Finding, occurrence: Occurrence) -> int:
    return min(finding.end, occurrence.end) - max(finding.start, occurrence.start)


def _one_a_place(findings: Iterable[Finding]) -> list[Finding]:
    """Of overlapping findings the one of the highest score, then the longest; in order of their place."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (-f.score, f.start - f.end, f.start, f.type)):
        if all(finding.end <= other.start or other.end <= finding.start for other in kept):
            kept.append(finding)
    return sorted(kept, key=lambda f: f.start)


def _as_occurrence(finding: Finding, row: int) -> Occurrence:
    return Occurrence(request_id="", identifier=-1, type=finding.type, row=row, start=finding.start, end=finding.end)
