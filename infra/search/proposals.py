"""Identifiers that a request does not name but that stand near one it names: proposed to a human, with the reason.

Nothing here erases anything. A proposal holds places and counts, never what stands there: that two places hold the same
identifier is found out by a keyed digest whose key lives as long as the call.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from infra.identifiers.normalise import identity

if TYPE_CHECKING:
    from infra.detection import Detector, Finding
    from infra.search.occurrences import Occurrence

MAX_DISTANCE = 200
"""Most characters between an occurrence and what is proposed because of it: a few lines, as of a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A place `text(row)[start:end]`, and the characters between it and the nearest occurrence of the request there."""

    row: int
    start: int
    end: int
    distance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One identifier that stands near those of a request.

    `documents` of the `of_documents` rows that hold the person's identifiers hold this one too; it also stands near
    identifiers of `other_requests` other requests.
    """

    request_id: str
    type: str
    score: float
    documents: int
    of_documents: int
    other_requests: int
    places: tuple[Spot, ...]

    @property
    def distance(self) -> int:
        """Fewest characters between it and an identifier of the request."""
        return min(place.distance for place in self.places)

    @property
    def reason(self) -> str:
        """Why it is proposed, for a human; it shows no value."""
        others = (
            f"also near those of {self.other_requests} other requests" if self.other_requests else "near no one else's"
        )
        return (
            f"{self.type} {self.distance} characters from an identifier of the request, in {self.documents} of the "
            f"person's {self.of_documents} documents, {others}"
        )


class _Near(NamedTuple):
    finding: Finding
    digest: bytes
    row: int
    distances: dict[str, int]  # of each request that has an identifier in this row


def propose(
    occurrences: Sequence[Occurrence],
    texts: Mapping[int, str],
    detector: Detector,
    *,
    max_distance: int = MAX_DISTANCE,
) -> list[Proposal]:
    """What `detector` finds within `max_distance` characters of an occurrence, and that is none itself.

    Args:
        occurrences: of all requests.
        texts: the text of every row that they stand in.
        detector: whose types and scores are taken.
        max_distance: most characters between the two.

    Returns:
        One proposal for each request and identifier, nearest first within a request; its places are the near ones.
    """
    by_row: dict[int, list[Occurrence]] = {}
    rows_of: dict[str, set[int]] = {}
    for occurrence in occurrences:
        by_row.setdefault(occurrence.row, []).append(occurrence)
        rows_of.setdefault(occurrence.request_id, set()).add(occurrence.row)
    key = secrets.token_bytes(32)
    same: dict[tuple[str, bytes], list[_Near]] = {}
    for row, here in sorted(by_row.items()):
        for near in _in_row(row, here, texts[row], detector, key):
            same.setdefault((near.finding.type, near.digest), []).append(near)
    found = [p for nears in same.values() for p in _proposals(nears, rows_of, max_distance)]
    return sorted(found, key=lambda p: (p.request_id, p.distance, -p.documents, p.type, p.places[0].row))


def _in_row(row: int, here: Sequence[Occurrence], text: str, detector: Detector, key: bytes) -> Iterator[_Near]:
    for finding in detector.find(text):
        gaps = [(occurrence.request_id, _gap(finding, occurrence)) for occurrence in here]
        if all(gap >= 0 for _, gap in gaps):
            value = identity(finding.type, text[finding.start : finding.end])
            nearest: dict[str, int] = {}
            for request_id, gap in gaps:
                nearest[request_id] = min(gap, nearest.get(request_id, gap))
            yield _Near(finding, hmac.digest(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256), row, nearest)


def _proposals(nears: Sequence[_Near], rows_of: Mapping[str, set[int]], most: int) -> Iterator[Proposal]:
    """The proposals of one identifier, for each request that it stands near to."""
    close = {request for near in nears for request, distance in near.distances.items() if distance <= most}
    for request_id in close:
        mine = [near for near in nears if request_id in near.distances]
        beside = [(near, gap) for near in mine if (gap := near.distances[request_id]) <= most]
        yield Proposal(
            request_id=request_id,
            type=nears[0].finding.type,
            score=max(near.finding.score for near, _ in beside),
            documents=len({near.row for near in mine}),
            of_documents=len(rows_of[request_id]),
            other_requests=len(close) - 1,
            places=tuple(
                Spot(row=near.row, start=near.finding.start, end=near.finding.end, distance=gap) for near, gap in beside
            ),
        )


def _gap(finding: Finding, occurrence: Occurrence) -> int:
    """Characters between the two; negative where they overlap."""
    return max(occurrence.start - finding.end, finding.start - occurrence.end)
