"""What the request store takes and gives: small frozen records. Only `Identifier` and `Demand` hold personal data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from infra.requests.reasons import Reason
from infra.requests.regimes import Regime

RequestStatus = Literal[
    "unverified", "received", "processing", "on_hold", "completed", "rejected", "failed", "duplicate", "withdrawn"
]
IN_LINE: tuple[RequestStatus, ...] = ("received", "processing", "on_hold")
"""States in which a demand stands in line: the same one again is a duplicate."""

UNANSWERED: tuple[RequestStatus, ...] = ("unverified", "received", "processing", "on_hold", "failed")
"""States in which the person still waits for an answer: the clock runs while a request waits for a human, too."""

BatchStatus = Literal["open", "completed", "refused", "split", "failed", "waiting", "abandoned"]
ClosingStatus = Literal["completed", "refused", "split", "failed", "waiting", "abandoned"]
OutcomeKind = Literal["edited", "not_memorised", "memorised", "not_probed", "not_found", "refused"]

PartKind = OutcomeKind | Literal["not_sought", "dropped"]
"""What is known of an identifier: what the latest batch found, that no batch sought it, or that it was dropped."""

SETTLED: frozenset[OutcomeKind] = frozenset({"edited", "not_memorised"})
"""What an identifier may end as in a request that is completed."""

IDENTIFIER_TYPES = (
    "EMAIL_ADDRESS",
    "US_SSN",
    "PHONE_NUMBER",
    "URL",
    "PERSON",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "CUSTOM",
)
_CASE_BLIND = frozenset({"EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS"})
"""Types whose every case is sought. Not PERSON: "ADA LO" does not bring out "Ada Lo", so they are two demands."""
_SEPARATOR_BLIND = frozenset({"US_SSN", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """A typed string of personal data; the value never shows in a repr.

    Attributes:
        type: One of `TYPES`.
        value: The string.
        number: Its place in its request as that was handed in, from 0; it stays when another is dropped.
    """

    type: str
    value: str = field(repr=False)
    number: int = field(default=0, compare=False)

    def canonical(self, *, blind: Set[str] = frozenset()) -> tuple[str, str]:
        """Return type and value such that two spellings of the same identifier are equal.

        Args:
            blind: More types of which case tells nothing.
        """
        value = " ".join(unicodedata.normalize("NFKC", self.value).split())
        if self.type in _CASE_BLIND | blind:
            value = value.casefold()
        if self.type in _SEPARATOR_BLIND:
            value = re.sub(r"[^\w+]|_", "", value)
        return self.type, value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What is to be erased of whom and from which model; process memory only."""

    subject: str = field(repr=False)
    model: str
    identifiers: tuple[Identifier, ...]

    def canonical(self, *, blind: Set[str] = frozenset()) -> tuple[str, str, list[tuple[str, str]]]:
        """Return what makes two demands the same: model, subject and identifiers, in any order and spelling."""
        return self.model, self.subject, sorted({each.canonical(blind=blind) for each in self.identifiers})


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand(Sought):
    """A well-formed deletion request as it was handed in; process memory only."""

    received: date
    due: date
    regime: Regime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request of a request file: a demand, or the reason why it is none."""

    line: int  # 1-based, the first line of the request
    raw: bytes = field(repr=False)
    demand: Demand | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of one request of a submission."""

    id: str
    line: int  # of the submission, from 1
    model: str
    case_id: str
    status: RequestStatus
    reason: Reason | None

    @property
    def ended_unfulfilled(self) -> bool:
        """Whether the person took it back, or it was refused; not where it was malformed from the beginning."""
        refused = self.status == "rejected" and not (self.reason and self.reason.is_malformed)
        return refused or self.status == "withdrawn"

    @property
    def result(self) -> Literal["accepted", "duplicate", "rejected"]:
        """What whoever hands it in is told."""
        return "duplicate" if self.status == "duplicate" else "rejected" if self.status == "rejected" else "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What became of the requests of one submission, in the order of the file.

    Attributes:
        requests: Each of them; of one that was handed in before, as it stands now.
        known: The same was handed in before: nothing was stored this time.
    """

    requests: tuple[Taken, ...]
    known: bool = field(default=False, compare=False)

    @property
    def received(self) -> int:
        """How many there were."""
        return len(self.requests)

    @property
    def accepted(self) -> tuple[str, ...]:
        """The ids of those that wait to be worked on, or to be verified."""
        return self._with("accepted")

    @property
    def duplicates(self) -> tuple[str, ...]:
        """The ids of those whose demand is pending already."""
        return self._with("duplicate")

    @property
    def rejected(self) -> tuple[tuple[str, str], ...]:
        """The ids of those that were malformed, each with its reason."""
        return tuple((each.id, f"{each.id}, {each.reason}") for each in self.requests if each.status == "rejected")

    @property
    def ended_unfulfilled(self) -> tuple[str, ...]:
        """The ids of those that were handed in before and withdrawn or refused since: nobody works on them any more."""
        return tuple(each.id for each in self.requests if self.known and each.ended_unfulfilled)

    def _with(self, result: str) -> tuple[str, ...]:
        return tuple(each.id for each in self.requests if each.result == result)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestView:
    """A stored request without its payload; safe to show, log and report."""

    id: str
    model: str
    status: RequestStatus
    received: date  # of a malformed request: the day it was handed in
    due: date
    subject: str  # pseudonym, 64 hex digits; empty when a malformed request names no subject
    digest: str  # HMAC of the canonical demand, or of the raw line of a malformed one
    types: tuple[str, ...]
    dropped: tuple[dict[str, Any], ...]  # identifiers it was narrowed by: number then, type, reason, and when
    reason: Reason | None
    duplicate_of: str | None
    batch_id: str | None
    lot: str | None  # of one whose batch was split: with which others it is tried again; see `lots`
    case_id: str  # shared by the requests of one person's demand, one for each model
    submitted_by: str | None
    submitted_at: datetime
    closed_at: datetime | None
    regime: str  # its id
    policy: dict[str, Any]  # the regime as it was when the request was stored; empty if that was before there were any
    extended_at: datetime | None
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The requests of one model that are processed together."""

    id: str
    model: str
    corpus: str
    source: str  # the model version that is edited
    parent: str | None  # the batch that was split, of which this is one lot
    status: BatchStatus
    opened_at: datetime
    closed_at: datetime | None
    request_ids: tuple[str, ...]  # due first; also those that were rejected, failed or sent back later
    outcome: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierOutcome:
    """What became of one identifier of a request in a batch; safe to show, log and report.

    Attributes:
        request_id: The request.
        number: The identifier's number in the request: see `Identifier`.
        type: Its type.
        kind: How it ended: see `SETTLED`.
        detail: Why: codes with their parameters, numbers, digests. Never an identifier or a file name. Its "reason",
            where there is one, is a sentence for people.
    """

    request_id: str
    number: int
    type: str
    kind: OutcomeKind
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierView:
    """One identifier of a request without its value, and what is known of it; safe to show.

    Attributes:
        number: Its place in the request as that was handed in, from 0.
        type: Its type.
        kind: What the latest batch that took the request found; or that no batch did, or that it was dropped.
        detail: Why, as of `IdentifierOutcome`.
    """

    number: int
    type: str
    kind: PartKind
    detail: Mapping[str, Any]

    @property
    def settled(self) -> bool:
        """Whether nothing more has to be done about it."""
        return self.kind in SETTLED or self.kind == "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedDigest:
    """An erased identifier without its value: the keyed digest of it, its type, and from which model it went when."""

    digest: str
    model: str
    type: str
    erased_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the audit log."""

    id: int
    at: datetime
    event: str
    batch_id: str | None
    request_id: str | None
    detail: dict[str, Any]
