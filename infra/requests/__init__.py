"""The request store: deletion requests in, batches out, payloads sealed until they are destroyed."""

from infra.requests.leases import BatchHeld, Holder, Lease
from infra.requests.outcomes import closed_as, described
from infra.requests.records import (
    IDENTIFIER_TYPES,
    SETTLED,
    Batch,
    BatchStatus,
    ClosingStatus,
    Event,
    Identifier,
    IdentifierOutcome,
    Intake,
    OutcomeKind,
    RequestStatus,
    RequestView,
)
from infra.requests.store import RequestStore

__all__ = [
    "IDENTIFIER_TYPES",
    "SETTLED",
    "Batch",
    "BatchHeld",
    "BatchStatus",
    "ClosingStatus",
    "Event",
    "Holder",
    "Identifier",
    "IdentifierOutcome",
    "Intake",
    "Lease",
    "OutcomeKind",
    "RequestStatus",
    "RequestStore",
    "RequestView",
    "closed_as",
    "described",
]
