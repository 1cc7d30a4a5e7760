"""The request store: deletion requests in, batches out, payloads sealed until they are destroyed."""

from infra.requests.clock import Clock, Timeliness
from infra.requests.closing import closed_as
from infra.requests.drop import DropStatus
from infra.requests.erased import ErasedList
from infra.requests.leases import BatchHeld, Lease
from infra.requests.reasons import Reason
from infra.requests.records import (
    SETTLED,
    Batch,
    BatchStatus,
    ClosingStatus,
    ErasedDigest,
    Identifier,
    IdentifierOutcome,
    Intake,
    OutcomeKind,
    RequestStatus,
    RequestView,
)
from infra.requests.store import RequestStore

__all__ = [
    "SETTLED",
    "Batch",
    "BatchHeld",
    "BatchStatus",
    "Clock",
    "ClosingStatus",
    "DropStatus",
    "ErasedDigest",
    "ErasedList",
    "Identifier",
    "IdentifierOutcome",
    "Intake",
    "Lease",
    "OutcomeKind",
    "Reason",
    "RequestStatus",
    "RequestStore",
    "RequestView",
    "Timeliness",
    "closed_as",
]
