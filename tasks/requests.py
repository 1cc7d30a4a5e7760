"""Stage 1: open (or resume) a batch, and validate its requests with the Great Expectations suite."""

from __future__ import annotations

from datetime import UTC, datetime

from infra.corpora import remember
from infra.corpus import absolute
from infra.detection import DEFAULT_TYPES
from infra.expectations import check_requests
from infra.requests import Identifier, RequestStore
from infra.settings import Settings, load_settings
from infra.workspace import Workspace
from revs.errors import BadInput
from tasks.auditing import audit_batch
from tasks.records import OpenedBatch, Validated
from tasks.stage import handles, open_registry, open_store, stage


@stage("open batch")
def open_batch(model: str, corpus: str | None = None) -> OpenedBatch | None:
    """The model's unfinished batch, or a new one of all its waiting requests, due first; None where none waits.

    Args:
        model: registered model; its champion is what gets edited.
        corpus: its training corpus, as an address or as `infra.corpora.remember` gave it; None takes the one the
            champion was registered with.
    """
    if corpus:
        absolute(corpus)  # a credential in it is refused before anything of it is stored
    settings = load_settings()
    store = open_store(settings)
    champion = open_registry(settings).champion(model)
    corpus = corpus or champion.tags.get("revs.corpus")
    if not corpus:
        raise BadInput(f"{champion.uri} has no training corpus on record; name it with --corpus")
    _finish_closed(settings, store, model)
    batch = store.open_batch(model=model, corpus=remember(settings, corpus), source=champion.uri)
    return None if batch is None else OpenedBatch(batch_id=batch.id, requests=len(batch.request_ids))


def _finish_closed(settings: Settings, store: RequestStore, model: str) -> None:
    """What a run that was cut off after closing its batch still owes: the report, and the end of the working folder."""
    for batch in store.batches(model):
        workspace = Workspace(settings.work_dir, batch.id)
        if batch.status == "open" or not workspace.folder.is_dir():
            continue
        if "evidence" in batch.outcome:
            audit_batch(settings, batch.id, None)
        workspace.remove()


@stage("validate requests")
def validate_requests(batch_id: str) -> Validated:
    """Reject what breaks a rule of the suite, with the rule as reason; the others go on."""
    h = handles(batch_id)
    identifiers = h.store.identifiers(batch_id)
    rows = [
        {
            "request_id": request_id,
            "model": view.model,
            "received": view.received,
            "due": view.due,
            "types": view.types,
            "identifiers": len(found),
            "well_formed": all(_well_formed(identifier) for identifier in found),
        }
        for request_id, found in identifiers.items()
        for view in [h.store.get(request_id)]
    ]
    rejected = check_requests(rows, model=h.batch.model, today=datetime.now(UTC).date())
    for request_id, reason in rejected.items():
        h.store.reject(request_id, reason)
    return Validated(accepted=len(rows) - len(rejected), rejected=len(rejected))


def _well_formed(identifier: Identifier) -> bool:
    """A value of a detectable type must hold at least what every value of the type holds; the others any text."""
    value = identifier.value.strip()
    if identifier.type == "EMAIL_ADDRESS":
        local, _, domain = value.rpartition("@")
        return bool(local) and "." in domain and " " not in value
    if identifier.type in {"US_SSN", "PHONE_NUMBER", "CREDIT_CARD"}:
        digits = sum(character.isdigit() for character in value)
        return digits == 9 if identifier.type == "US_SSN" else 7 <= digits <= 19
    return bool(value) if identifier.type not in DEFAULT_TYPES else len(value) > 3
