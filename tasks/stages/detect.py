"""Stage 3: whether the detector sees what was located, and what it sees near it."""

from __future__ import annotations

from dataclasses import asdict

from infra.batches.records import Detections, Occurrences, Seen
from infra.detection import Detector, Finding
from infra.gates.expectations import check_occurrences
from infra.search.occurrences import confirm
from infra.search.proposals import propose
from tasks.batch.corpus import corpus_of
from tasks.batch.pages import show_expectations
from tasks.batch.stage import Handles, handles, refuse_broken, stage


@stage("detect identifiers")
def detect_identifiers(batch_id: str) -> str:
    """Look at the occurrences with Presidio, and at what stands near them."""
    h = handles(batch_id)
    record = h.workspace.once(Detections, lambda: look(h))
    found = h.workspace.require(Occurrences)
    _check(h, found, record)
    return told(record, others=len(found.others))


def told(record: Detections, *, others: int) -> str:
    """The stage in a sentence."""
    seen = f"{len(record.seen) - record.unconfirmed} confirmed as personal data, {record.unconfirmed} not"
    more = len(record.proposed)
    near = f"; {more} more stand near them and are named by no request" if more else ""
    return f"{seen}; {others} identifiers of others{near}"


def look(h: Handles) -> Detections:
    """What the detector sees at the occurrences, and identifiers near them.

    What stands near an occurrence is proposed, never erased: no request names it.
    """
    occurrences = h.workspace.require(Occurrences).occurrences
    corpus = corpus_of(h)
    detector = _Remembering()
    seen = [Seen(type=found.detected_type, score=found.score) for found in confirm(corpus, occurrences, detector)]
    proposed = propose(occurrences, corpus.texts(occurrence.row for occurrence in occurrences), detector)
    return Detections(seen=tuple(seen), proposed=tuple(proposed))


def _check(h: Handles, found: Occurrences, record: Detections) -> None:
    """The suite over the occurrences: what is recorded must be places in this corpus of this batch's requests."""
    rows = [
        {"id": f"occurrence {number}", "agrees": seen.type is not None, **asdict(occurrence)}
        for number, (occurrence, seen) in enumerate(zip(found.occurrences, record.seen, strict=True))
    ]
    requests = {occurrence.request_id for occurrence in found.occurrences} & h.store.identifiers(h.batch.id).keys()
    refuse_broken(
        check_occurrences(
            rows, requests=sorted(requests), corpus_rows=found.corpus.rows, record=show_expectations(h.batch.model)
        )
    )


class _Remembering(Detector):
    """Reads each text once, though it is asked twice."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[Finding]] = {}

    def find(self, text: str) -> list[Finding]:
        if text not in self._found:
            self._found[text] = super().find(text)
        return self._found[text]
