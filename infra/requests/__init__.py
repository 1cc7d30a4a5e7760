"""The request store: deletion requests in, batches out, payloads sealed until they are destroyed."""

from infra.requests.records import (
    IDENTIFIER_TYPES,
    Batch,
    BatchStatus,
    ClosingStatus,
    Event,
    Identifier,
    Intake,
    RequestStatus,
    RequestView,
)
from infra.requests.store import RequestStore

__all__ = [
    "IDENTIFIER_TYPES",
    "Batch",
    "BatchStatus",
    "ClosingStatus",
    "Event",
    "Identifier",
    "Intake",
    "RequestStatus",
    "RequestStore",
    "RequestView",
]
