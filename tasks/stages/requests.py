"""Stage 1: open (or resume) a batch, and validate its requests with the Great Expectations suite."""

from __future__ import annotations

from infra.corpus import absolute
from infra.gates.expectations import RECEIVED_LATER, check_requests
from infra.gates.policy import GatePolicy
from infra.identifiers.wellformed import fault
from infra.registry import ModelVersion
from infra.requests import Batch, Clock, Identifier, Reason, RequestStore
from infra.settings import Settings, load_settings
from revs.errors import BadInput, GateRefused
from tasks.batch.pages import show_expectations
from tasks.batch.results import OpenedBatch
from tasks.batch.resuming import finish_closed, give_up, reason_to_give_up
from tasks.batch.stage import handles, open_registry, open_store, stage
from tasks.versions.guard import moved_alias
from tasks.versions.lineage import require_on_record, require_whole_lineage


@stage("open batch")
def open_batch(model: str, corpus: str | None = None) -> OpenedBatch | None:
    """The model's unfinished batch, or a new one of its waiting requests, due first; None where none waits.

    A lot of a batch that was split is taken alone, and sought where that batch sought unless another corpus is named.

    Args:
        model: registered model; its champion is what gets edited.
        corpus: its training corpus, by the reference the request store keeps or as a path; None takes that of the batch
            that was split, else the one the champion was registered with.
    """
    if corpus:
        absolute(corpus)  # one with a credential is refused before anything is stored
    settings = load_settings()
    GatePolicy.of(settings.method, settings.gate_policy)  # one that cannot be read is not found after the edit
    store, registry = open_store(settings), open_registry(settings)
    corpus = corpus and store.keep_address(absolute(store.address(corpus)))
    champion = registry.champion(model)
    registry.require_bytes(champion)  # an alias that was moved by hand
    require_on_record(store, champion, registry.evidence(champion))
    require_whole_lineage(registry, store, champion, for_derivation=True)
    if (moved := moved_alias(registry, store, model)) is not None:
        raise GateRefused(f"{moved}; no batch is opened on it")
    registry.verify(champion)
    store.destroy_expired(days=settings.rejected_days)
    if settings.digest_days is not None:
        store.expire_digests(days=settings.digest_days)
    finish_closed(settings, store, model)
    batch = _taken(settings, store, champion, corpus)
    if batch is not None and (reason := reason_to_give_up(settings, batch, champion)):
        give_up(settings, store, batch.id, reason)
        batch = _taken(settings, store, champion, corpus)
    return None if batch is None else OpenedBatch(batch_id=batch.id, requests=len(batch.request_ids))


def _taken(settings: Settings, store: RequestStore, champion: ModelVersion, corpus: str | None) -> Batch | None:
    parent = store.parent_of_next(champion.name)
    corpus = corpus or (parent.corpus if parent else champion.tags.get("revs.corpus"))
    if not corpus:
        raise BadInput(f"{champion.uri} has no training corpus on record; name it with --corpus")
    return store.open_batch(
        model=champion.name, corpus=corpus, source=champion.uri, at_most=settings.batch_requests
    )  # fmt: skip


def more_waits(model: str) -> bool:
    """Whether the run that has ended a batch goes on with the next: a lot waits, or a batch could not take all."""
    settings = load_settings()
    store = open_store(settings)
    if store.parent_of_next(model) is not None:
        return True
    return settings.batch_requests is not None and bool(store.list(model=model, status="received"))


@stage("validate requests")
def validate_requests(batch_id: str) -> str:
    """Set aside what breaks a rule of the suite, with the rule as reason; the others go on.

    What a human can mend is handed to one: a payload that does not open, a date that is still to come.
    """
    h = handles(batch_id)
    unreadable = h.store.unreadable(batch_id)
    for request_id in unreadable:
        h.store.fail(request_id, Reason("unreadable"))
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
    today = Clock.of(h.settings).today()
    broken = check_requests(rows, model=h.batch.model, today=today, record=show_expectations(h.batch.model))
    for request_id, rules in broken.items():
        if rules == [RECEIVED_LATER]:
            h.store.fail(request_id, Reason("received_later"))
        else:
            h.store.reject(request_id, Reason("rules", {"rules": rules}))
    return f"{len(rows) - len(broken)} good, {len(broken) + len(unreadable)} set aside"


def _well_formed(identifier: Identifier) -> bool:
    """Whether the value has the form of its type; it was asked at the door, and may have been stored before that."""
    return bool(identifier.value.strip()) and fault(identifier.type, identifier.value) is None
