"""Where the identifiers of deletion requests stand in a corpus, and which other identifiers stand elsewhere.

Known identifiers are sought in batches of rows (infra/search/).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from infra.search import Search
from infra.search.refusals import Named

if TYPE_CHECKING:
    from infra.corpus import Corpus
    from infra.detection import Detector, Finding
    from infra.requests import Identifier

PORTION_CHARACTERS = 1 << 22
"""About how many characters of a corpus are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """An identifier of a request at `corpus.text(row)[start:end]`; `identifier` is its number in the request.

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


def locate(corpus: Corpus, identifiers: Mapping[str, Sequence[Identifier]]) -> list[Occurrence]:
    """Every place where an identifier stands, by row, start, end, request and number.

    Offsets are in the original text; of several spellings of one identifier at one place the longest is given.
    An identifier named by two requests gives an occurrence for each.

    Raises:
        BadInput: an identifier has fewer than `MIN_CHARACTERS` normalised characters; the message lists the requests.
    """
    search = Search(identifiers)
    return [
        Occurrence(**asdict(found), row=rows[number])
        for rows, texts in (_portions(corpus) if any(identifiers.values()) else ())
        for number, found in search.in_texts(texts)
    ]


def rows_hit(occurrences: Iterable[Occurrence]) -> dict[Named, int]:
    """In how many rows each identifier stands, for `infra.search.refusals.too_common`."""
    places = {(o.request_id, o.identifier, o.type, o.row) for o in occurrences}
    return dict(Counter(place[:3] for place in places))


def confirm(corpus: Corpus, occurrences: Sequence[Occurrence], detector: Detector) -> list[Detection]:
    """What `detector` sees at each occurrence, in their order; type None and score 0.0 where it sees nothing."""
    findings = {row: detector.find(text) for row, text in corpus.texts(o.row for o in occurrences).items()}
    return [_detection(occurrence, findings[occurrence.row]) for occurrence in occurrences]


def detected(row: int, text: str, detector: Detector) -> list[Occurrence]:
    """The identifiers that `detector` finds in the text of a row, one a place; they belong to no request."""
    return [
        Occurrence(request_id="", identifier=-1, type=finding.type, row=row, start=finding.start, end=finding.end)
        for finding in _one_a_place(detector.find_all(text).findings)
    ]


def _portions(corpus: Corpus) -> Iterator[tuple[list[int], list[str]]]:
    """Rows and their texts, as many as make `PORTION_CHARACTERS`."""
    rows: list[int] = []
    texts: list[str] = []
    size = 0
    for row, text in corpus:
        rows.append(row)
        texts.append(text)
        size += len(text)
        if size >= PORTION_CHARACTERS:
            yield rows, texts
            rows, texts, size = [], [], 0
    yield rows, texts


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
