"""What the API takes and gives, for its documentation and for its answers."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from infra.requests import opendsr
from infra.requests.fields import MAX_IDENTIFIERS, MAX_MODELS, MAX_TEXT
from infra.requests.outcomes import described
from infra.requests.reasons import in_words
from infra.requests.records import IDENTIFIER_TYPES, RequestView
from infra.requests.regimes import frozen, regimes
from infra.service.desk import Case
from infra.service.roles import Action

_ID = "R-0a1b2c3d"
_DATES = {"received": "2026-11-02", "due": "2026-12-02"}
_MADE = frozenset({"days_left", "acknowledge_by", "reason", "reason_code"})  # not a field of the stored request
_ROW: dict[str, Any] = {
    "id": _ID,
    "model": "support-bot",
    "status": "received",
    **_DATES,
    "days_left": 12,
    "types": ["EMAIL_ADDRESS"],
    "reason": None,
    "reason_code": None,
    "duplicate_of": None,
    "case_id": "C-4e5f6a7b",
    "submitted_at": "2026-11-02T09:30:00Z",
    "closed_at": None,
    "regime": "gdpr",
    "extended_at": None,
    "acknowledged_at": None,
    "acknowledge_by": None,
}


def example(value: dict[str, Any], **more: Any) -> ConfigDict:
    """Return the configuration of a class of this documentation, with an example."""
    return ConfigDict(json_schema_extra={"examples": [value | more]})


class Place(BaseModel):
    """A place in a body, and what is wrong there."""

    pointer: str = Field(description="JSON pointer (RFC 6901); empty: the whole body")
    detail: str


class ProblemDocument(BaseModel):
    """RFC 9457. `detail` is one line with the remedy; nothing in it repeats what was sent."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Place] | None = None


class Submitted(BaseModel):
    """One request as it was taken. A duplicate is the demand of another request that is still pending."""

    number: int = Field(description="which of the list it was, from 0; one that names several models is several")
    id: str
    result: Literal["accepted", "duplicate", "rejected"]
    model: str
    case_id: str = Field(description="shared by the requests of one demand, one for each model")


class Receipt(BaseModel):
    """What became of the requests of a body, in its order."""

    model_config = example(
        {"requests": [{"number": 0, "id": _ID, "result": "accepted", "model": "support-bot", "case_id": "C-4e5f6a7b"}]}
    )

    requests: list[Submitted]


class RequestRow(BaseModel):
    """One request in a list."""

    model_config = example(_ROW)

    id: str
    model: str
    status: str
    received: date
    due: date
    days_left: int | None = Field(description="negative once overdue; null once answered")
    types: list[str]
    reason: str | None = Field(description="why it is where it is, in English; null: nothing has to be said")
    reason_code: str | None = Field(description="the code of the reason")
    duplicate_of: str | None
    case_id: str = Field(description="shared by the requests of one demand, one for each model")
    submitted_at: datetime
    closed_at: datetime | None
    regime: str = Field(description="the law it came in under")
    extended_at: datetime | None
    acknowledged_at: datetime | None
    acknowledge_by: date | None = Field(description="until when receipt has to be confirmed; null: nothing asks for it")

    @classmethod
    def of(cls, view: RequestView, days_left: int | None) -> RequestRow:
        """Return a stored request as the API shows it."""
        return cls(**row(view, days_left))


class OutcomeOut(BaseModel):
    """What is known of one identifier, by its number in the request and its type."""

    number: int
    type: str
    outcome: str
    settled: bool = Field(description="whether nothing more has to be done about it")
    described: str


class EventOut(BaseModel):
    """One line of a request's history."""

    at: datetime
    event: str
    by: str | None = Field(description="who decided or handed in; null: the program")
    reason: str | None = Field(description="why, in English")
    reason_code: str | None = Field(description="the code of the reason")
    before: date | None = Field(description="a date that was moved, as it was")
    after: date | None = Field(description="that date since then; of an alarm, the day that it is about")
    other: str | None = Field(description="the request that it has to do with")
    batch_id: str | None


class RequestOut(RequestRow):
    """One request; `history` is empty for a submitter."""

    model_config = example(
        _ROW,
        status="completed",
        days_left=None,
        closed_at="2026-11-20T02:10:00Z",
        outcomes=[
            {
                "number": 0,
                "type": "EMAIL_ADDRESS",
                "outcome": "edited",
                "settled": True,
                "described": "edited in 4 contexts, 2 kept to test the edit",
            }
        ],
        history=[
            {
                "at": "2026-11-09T09:30:00Z",
                "event": "request.extended",
                "by": "A. Officer",
                "reason": "the request is complex",
                "reason_code": "complexity",
                "before": "2026-12-02",
                "after": "2027-02-02",
                "other": None,
                "batch_id": None,
            }
        ],
        actions=[],
        goes_on=None,
    )

    goes_on: str | None = Field(
        description="of what this call withdrew, refused or narrowed: the request of the same demand that goes on in "
        "its place, and is decided about by itself"
    )
    outcomes: list[OutcomeOut]
    history: list[EventOut]
    actions: list[str] = Field(description="what this token may do with it now")

    @classmethod
    def of_case(cls, case: Case) -> RequestOut:
        """Return a case as the API shows it."""
        outcomes = [
            OutcomeOut(
                number=each.number,
                type=each.type,
                outcome=each.kind,
                settled=each.settled,
                described=described(each.kind, each.detail),
            )
            for each in case.parts
        ]
        history = [EventOut(**asdict(each) | in_words(each.reason)) for each in case.history]
        told = row(case.view, case.days_left) | {"goes_on": case.goes_on, "actions": list(case.actions)}
        return cls(**told, outcomes=outcomes, history=history)


class RequestPage(BaseModel):
    """One page of a list, most urgent first."""

    model_config = example({"requests": [_ROW], "total": 1, "page": 1, "pages": 1})

    requests: list[RequestRow]
    total: int
    page: int
    pages: int


class State(BaseModel):
    """How the service is."""

    model_config = example({"status": "ok"})

    status: Literal["ok"]


def row(view: RequestView, days_left: int | None) -> dict[str, Any]:
    """Return the fields of a request that the API shows; neither subject nor digest."""
    fields = {name: getattr(view, name) for name in RequestRow.model_fields if name not in _MADE}
    policy = frozen(view.policy)
    by = policy.acknowledge_by(view.received) if policy else None
    return fields | {"types": list(view.types), "days_left": days_left, "acknowledge_by": by} | in_words(view.reason)


_IDENTIFIER = {
    "type": "object",
    "required": ["type", "value"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": list(IDENTIFIER_TYPES)},
        "value": {"type": "string", "maxLength": MAX_TEXT},
    },
}
_REQUEST = {
    "type": "object",
    "required": ["subject", "received", "identifiers"],
    "additionalProperties": False,
    "properties": {
        "subject": {
            "type": "string",
            "maxLength": MAX_TEXT,
            "description": "whom it is about, in the submitter's words",
        },
        "received": {"type": "string", "format": "date"},
        "due": {"type": "string", "format": "date", "description": "left out: as the regime says"},
        "regime": {"enum": sorted(regimes()), "description": "left out: the installation's"},
        "model": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "minItems": 1, "maxItems": MAX_MODELS, "items": {"type": "string"}},
            ],
            "description": "registered models, or * for every one; may be left out where there is one alone",
        },
        "identifiers": {"type": "array", "minItems": 1, "maxItems": MAX_IDENTIFIERS, "items": _IDENTIFIER},
    },
}
_IDENTITY = {
    "type": "object",
    "required": ["identity_type", "identity_value", "identity_format"],
    "additionalProperties": False,
    "properties": {
        "identity_type": {"enum": sorted(opendsr.TYPES)},
        "identity_value": {"type": "string", "maxLength": MAX_TEXT},
        "identity_format": {"enum": ["raw"]},
    },
}
_OPENDSR = {
    "type": "object",
    "title": "OpenDSR 2.0",
    "required": [
        "regulation",
        "subject_request_id",
        "subject_request_type",
        "submitted_time",
        "subject_identities",
    ],
    "additionalProperties": False,
    "properties": {
        "regulation": {"enum": list(opendsr.REGULATIONS)},
        "subject_request_id": {"type": "string", "format": "uuid", "description": "of version 4"},
        "subject_request_type": {"enum": ["erasure"]},
        "submitted_time": {"type": "string", "format": "date-time"},
        "subject_identities": {"type": "array", "minItems": 1, "maxItems": MAX_IDENTIFIERS, "items": _IDENTITY},
        "api_version": {"description": "not looked at"},
        "status_callback_urls": {"description": "not called"},
        "extensions": {"description": "not looked at"},
    },
}
_EXAMPLE = {
    "subject": "customer 17",
    "received": "2026-11-02",
    "identifiers": [{"type": "EMAIL_ADDRESS", "value": "quillfern@example.com"}],
}
_OPENDSR_EXAMPLE = {
    "regulation": "ccpa",
    "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
    "subject_request_type": "erasure",
    "submitted_time": "2026-11-02T15:00:00Z",
    "subject_identities": [
        {"identity_type": "email", "identity_value": "quillfern@example.com", "identity_format": "raw"}
    ],
    "api_version": "2.0",
}
_ONE = [_REQUEST, _OPENDSR]
SUBMISSION = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [*_ONE, {"type": "array", "minItems": 1, "maxItems": 100, "items": {"oneOf": _ONE}}]
                },
                "examples": {
                    "one": {"value": _EXAMPLE},
                    "list": {"value": [_EXAMPLE]},
                    "OpenDSR 2.0": {"value": _OPENDSR_EXAMPLE},
                },
            }
        },
    }
}
"""The body of a submission: read by the parser of request files, so that both take the same."""


def told(action: Action) -> dict[str, Any]:
    """Return the body of an action that has to be told something, for the documentation."""
    field, choices = str(action.field), action.choices
    properties: dict[str, Any] = {field: {"enum": list(choices)}}
    example: dict[str, Any] = {field: choices[0]}
    if action.numbered:
        properties["number"] = {"type": "integer", "minimum": 0, "description": "of the identifier, from 0"}
        example["number"] = 0
    schema = {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }
    content = {"application/json": {"schema": schema, "examples": {"one": {"value": example}}}}
    return {"requestBody": {"required": True, "content": content}}
