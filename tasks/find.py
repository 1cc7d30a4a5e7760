"""Stages 2 and 3: where the identifiers stand in the training corpus, and whether the detector sees them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from infra.corpus import Corpus, Unread, unread_summary
from infra.detection import DEFAULT_TYPES, Detector
from infra.location import Occurrence, confirm, locate, other_identifiers, unsearchable
from revs.errors import BadInput
from tasks.records import Detected, Located
from tasks.stage import Handles, handles, stage

OTHERS = 600  # identifiers of other people that are looked at, for what must keep working
_SEED = 0


@stage("locate occurrences")
def locate_occurrences(batch_id: str) -> Located:
    """Find every occurrence of every identifier; a request without any is set aside for a human, not closed.

    Raises:
        BadInput: none of the batch's identifiers stands in the corpus.
    """
    h = handles(batch_id)
    corpus = Corpus.open(h.batch.corpus)
    record = h.workspace.read("occurrences")
    if record is not None and record["corpus"]["digest"] != corpus.digest and not h.workspace.read("registered"):
        h.workspace.remove()  # the corpus changed since the batch was cut off: what was found in it no longer holds
        record = None
    record = record or h.workspace.write("occurrences", search(h, corpus))
    _set_aside(h, record)
    if not h.store.identifiers(batch_id):
        _end_without_work(h, record)
    found = {row["request_id"] for row in record["occurrences"]}
    return Located(
        occurrences=len(record["occurrences"]),
        requests=len(found),
        missing=len(record["missing"]),
        unread=unread_in(record["corpus"]),
    )


def _end_without_work(h: Handles, record: dict[str, Any]) -> None:
    """Every request of the batch was set aside: close it, so that the next one can open, and say so."""
    h.store.close_batch(h.batch.id, status="failed", outcome={"reason": "every request was set aside"})
    h.workspace.remove()
    if record["missing"]:
        raise BadInput(
            f"no identifier of batch {h.batch.id} stands in the corpus {h.batch.corpus} "
            f"({record['corpus']['rows']} rows){reservation(record['corpus'])}: check --corpus, then "
            f"'revs requests retry {' '.join(record['missing'][:3])}'"
        )
    raise BadInput(
        f"every request of batch {h.batch.id} was rejected: 'revs requests list --status rejected' shows the reasons"
    )


def search(h: Handles, corpus: Corpus) -> dict[str, Any]:
    """Where the batch's identifiers stand, which requests have none there, and which cannot be sought."""
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers)
    sought = {request_id: found for request_id, found in identifiers.items() if request_id not in refused}
    occurrences = locate(corpus, sought) if sought else []
    h.workspace.write("survey", corpus.survey().to_dict())
    present = {occurrence.request_id for occurrence in occurrences}
    return {
        "corpus": corpus.manifest(),
        "occurrences": [asdict(occurrence) for occurrence in occurrences],
        "missing": [request_id for request_id in sought if request_id not in present],
        "unsearchable": refused,
    }


def _set_aside(h: Handles, record: dict[str, Any]) -> None:
    for request_id, reason in record["unsearchable"].items():
        h.store.reject(request_id, reason)
    for request_id in record["missing"]:
        h.store.fail(
            request_id,
            f"none of its identifiers stands in the corpus {h.batch.corpus}{reservation(record['corpus'])}; "
            "check the corpus",
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
    confirmed = sum(seen["type"] is not None for seen in record["seen"])
    return Detected(confirmed=confirmed, unconfirmed=len(record["seen"]) - confirmed, others=len(record["others"]))


def look(h: Handles) -> dict[str, Any]:
    """What the detector sees at the occurrences, and identifiers of the same types in other rows."""
    occurrences = [Occurrence(**row) for row in h.workspace.require("occurrences")["occurrences"]]
    corpus = Corpus.open(h.batch.corpus, survey=h.workspace.read("survey"))
    seen = [{"type": found.detected_type, "score": found.score} for found in confirm(corpus, occurrences, Detector())]
    # Of the same types as the batch's: these stand in the contexts that the edit could harm.
    types = {occurrence.type for occurrence in occurrences}.intersection(DEFAULT_TYPES) or DEFAULT_TYPES
    rows = {occurrence.row for occurrence in occurrences}
    others = other_identifiers(corpus, exclude_rows=rows, detector=Detector(types), limit=OTHERS, seed=_SEED)
    return {"seen": seen, "others": [asdict(other) for other in others]}
