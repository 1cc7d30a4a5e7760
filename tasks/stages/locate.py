"""Stages 2 and 3: where the identifiers stand in the training corpus, and whether the detector sees them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from infra.corpus import Unread, unread_summary
from infra.detection import Detector, Finding
from infra.gates.expectations import check_occurrences
from infra.search.locate import Occurrence, confirm
from infra.search.proposals import propose
from revs.errors import BadInput
from tasks.batch.records import Detected, Located
from tasks.batch.stage import Handles, handles, refuse_broken, stage
from tasks.stages.search import corpus_of, keyed_digest, search


@stage("locate occurrences")
def locate_occurrences(batch_id: str) -> Located:
    """Find every occurrence of every identifier; what stands nowhere, or cannot be sought, is recorded one by one.

    Raises:
        BadInput: no request of the batch is left: each was rejected.
    """
    h = handles(batch_id)
    if not h.store.identifiers(batch_id):
        _end_without_work(h)
    corpus = corpus_of(h)
    record = h.workspace.read("occurrences")
    if (
        record is not None
        and record["corpus"]["digest"] != keyed_digest(h, corpus)
        and not h.workspace.read("registered")
    ):
        h.discard()  # the corpus changed since the batch was cut off: what was found in it no longer holds
        record = None
    record = record or h.workspace.write("occurrences", search(h, corpus))
    return Located(
        occurrences=len(record["occurrences"]),
        identifiers=len({(row["request_id"], row["identifier"]) for row in record["occurrences"]}),
        missing=len(record["missing"]),
        refused=len(record["refused"]),
        unread=unread_in(record["corpus"]),
    )


def _end_without_work(h: Handles) -> None:
    """Every request of the batch was rejected: close it, so that the next one can open, and say so."""
    h.store.close_batch(h.batch.id, status="failed", outcome={"reason": "every request was rejected"})
    h.discard()
    h.lease.release()
    raise BadInput(
        f"every request of batch {h.batch.id} was rejected: 'revs requests list --status rejected' shows the reasons"
    )


def unread_in(manifest: dict[str, Any]) -> str:
    """How much of a corpus could not be read, by its manifest; "" where all was."""
    return unread_summary(Unread(**entry) for entry in manifest.get("unread", ()))


def reservation(manifest: dict[str, Any]) -> str:
    """What must follow when something is said not to stand in a corpus; "" where all of it was read."""
    unread = unread_in(manifest)
    return f", in what could be read of it ({unread} could not be)" if unread else ""


@stage("detect identifiers")
def detect_identifiers(batch_id: str) -> Detected:
    """Look at the occurrences with Presidio, and sample identifiers of other people: what must keep working."""
    h = handles(batch_id)
    record = h.workspace.once("detections", lambda: look(h))
    _check(h, record)
    confirmed = sum(seen["type"] is not None for seen in record["seen"])
    return Detected(
        confirmed=confirmed,
        unconfirmed=len(record["seen"]) - confirmed,
        others=len(record["others"]),
        proposed=len(record.get("proposed", ())),
    )


def look(h: Handles) -> dict[str, Any]:
    """What the detector sees at the occurrences and near them, and identifiers of the same types in other rows.

    What stands near an occurrence is proposed, never erased: no request names it.
    """
    record = h.workspace.require("occurrences")
    occurrences = [Occurrence(**row) for row in record["occurrences"]]
    corpus = corpus_of(h)
    detector = _Remembering()
    seen = [{"type": found.detected_type, "score": found.score} for found in confirm(corpus, occurrences, detector)]
    proposed = propose(occurrences, corpus.texts(occurrence.row for occurrence in occurrences), detector)
    return {
        "seen": seen,
        "others": record["others"],
        "proposed": [asdict(proposal) | {"reason": proposal.reason} for proposal in proposed],
    }


def _check(h: Handles, record: dict[str, Any]) -> None:
    """The suite over the occurrences: what is recorded must be places in this corpus of this batch's requests."""
    found = h.workspace.require("occurrences")
    rows = [
        {"id": f"occurrence {number}", "agrees": seen["type"] is not None, **occurrence}
        for number, (occurrence, seen) in enumerate(zip(found["occurrences"], record["seen"], strict=True))
    ]
    requests = {row["request_id"] for row in found["occurrences"]} & h.store.identifiers(h.batch.id).keys()
    refuse_broken(check_occurrences(rows, requests=sorted(requests), corpus_rows=found["corpus"]["rows"]))


class _Remembering(Detector):
    """Reads each text once, though it is asked twice."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[Finding]] = {}

    def find(self, text: str) -> list[Finding]:
        if text not in self._found:
            self._found[text] = super().find(text)
        return self._found[text]
