"""Why a request is where it is: a code with parameters, and the sentence that it makes in English.

The sentences are gettext's message ids, so that whoever shows a reason in another language translates the template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from infra.identifiers.wellformed import FAULTS
from infra.requests.outcomes import described

Say = Callable[[str], str]
"""Gives a template in the language of the reader."""

MALFORMED: Mapping[str, str] = MappingProxyType(
    {
        "not_json": "is not JSON; write one request a line",
        "no_object": "is not a JSON object; write one request a line",
        "not_utf8": "is not UTF-8 text",
        "field_twice": "has a field twice",
        "unknown_field": "has a field that is not one of {fields}",
        "no_identifiers": "identifiers is missing or not a list with at least one identifier",
        "no_text": "{field} is missing or not a text with a letter or digit",
        "too_long": "{field} is longer than {most} characters",
        "no_unicode": "{field} is not valid Unicode text",
        "no_date": "{field} is missing or not a date such as 2026-11-02",
        "no_identifier": "{field} is not an object with type and value",
        "many_identifiers": "identifiers holds more than {most}; write several requests",
        "unknown_type": "{field} is not one of {types}",
        "bad_value": "{field} ({type}) {fault}",
        "unknown_regime": "regime is not one of {regimes}",
        "too_far": "{field} is too far in the future",
        "due_late": "due is later than the law's day, {day}: leave it out, or name an earlier day",
        "due_early": "due is before received",
        "in_future": "received is in the future",
        "many_models": "model names more than {most}; name fewer, or * for every registered one",
        "no_model": "model is *, every registered model, and none is registered; name it",
        "unknown_model": "model is not one of those that are registered; name one of these: {models}",
        "which_model": "model is missing, and there is more than one; name one of these: {models}",
        "bad_model": "model is not a model name (a letter, then letters, digits, '.', '_', '-'), a list of such, or * "
        "for every registered one",
        "opendsr_field": "has a field that is none of OpenDSR 2.0: {fields}",
        "opendsr_type": "subject_request_type is not erasure; access and portability are not answered here",
        "opendsr_regulation": "regulation is missing or not one of {regimes}",
        "opendsr_id": "subject_request_id is missing or not a UUID of version 4",
        "opendsr_identities": "subject_identities is missing or not a list with at least one identity",
        "opendsr_time": "submitted_time is missing or not a time such as 2026-11-02T09:30:00Z",
        "opendsr_identity": "{field} is not an object with {fields}",
        "opendsr_identity_type": "{field}.identity_type is none that can be sought in text: {types}",
        "opendsr_format": "{field}.identity_format is not raw; what is hashed cannot be sought",
        "no_csv_row": "is not a CSV row (a quote left open, or a line break inside a value)",
        "columns": "does not have the {columns} columns of the header",
        "differs": "{field} differs from line {other}, which is the same request",
    }
)
"""What is wrong with a request as it was handed in. No parameter ever holds a value of it."""

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "unsettled": "{identifiers}",
        "no_outcomes": "no outcome is on record for its identifiers",
        "waiting": "the edited version is registered and waits for a human, because the evidence was not sufficient or "
        "every promotion is approved here",
        "unreadable": "its payload does not open, or is not the one it was stored with; restore the request store",
        "rules": "{rules}",
        "received_later": "the received date is in the future; hand the request in again with the right date, set "
        "REVS_TIME_ZONE if it is that day here already, or retry this one when the date has come",
        "split": "the batch was refused, and this is tried again with fewer others",
        "given_up": "batch {batch} was given up",
        "legal_hold": "the law or a court asks to keep the data",
        "objection": "somebody objects to the request",
        "identity": "it is in doubt who asks",
        "expression": "the data is needed for freedom of expression and information",
        "legal_obligation": "a law obliges to process the data",
        "public_interest": "the data is needed in the public interest",
        "legal_claims": "the data is needed for legal claims",
        "unfounded": "the request is manifestly unfounded",
        "excessive": "the request is excessive",
        "complexity": "the request is complex",
        "number": "there are many requests",
        "reasonably_necessary": "it is reasonably necessary",
        "not_found": "it was found nowhere",
        "not_theirs": "it is not theirs",
        "no_longer_asked": "it is no longer asked for",
        "cannot_be_sought": "it cannot be sought",
        "told": "{text}",  # what a store from before schema 0006 held as a sentence
        **{f"malformed_{code}": text for code, text in MALFORMED.items()},
    }
)

PLACES: Mapping[str, str] = MappingProxyType({"line": "line {line}: ", "item": "item {item}: "})
"""Where in a file a malformed request stands."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A code of `WORDS`, and what its sentence names. Safe to show and to store: no parameter holds personal data."""

    code: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_malformed(self) -> bool:
        """Whether it says that a request was malformed when it was handed in."""
        return self.code.startswith("malformed_")

    def __str__(self) -> str:
        return self.said()

    def said(self, say: Say = str) -> str:
        """Return the sentence, in the language that `say` translates templates into."""
        known = {name: _worded(name, value, self.parameters, say) for name, value in self.parameters.items()}
        place = "".join(say(text).format(**known) for name, text in PLACES.items() if name in known)
        return place + say(WORDS[self.code]).format(**known)

    def as_json(self) -> str | dict[str, Any]:
        """Return the code alone where there is no parameter, else the code beside the parameters, as JSON."""
        return {"code": self.code, **self.parameters} if self.parameters else self.code

    def at(self, **place: int) -> Reason:
        """Return the same reason with its place in a file: `line` or `item`, from 1."""
        return Reason(self.code, place | dict(self.parameters))


def in_words(reason: Reason | None) -> dict[str, str | None]:
    """Return a reason as programs are told it: the sentence in English, and its code."""
    told = (None, None) if reason is None else (str(reason), reason.code)
    return dict(zip(("reason", "reason_code"), told, strict=True))


def of_event(detail: Mapping[str, Any]) -> Reason | None:
    """Return the reason that a line of the log gives; lines from before reasons were codes give a sentence."""
    given = detail.get("reason")
    if given is None:
        return None
    if isinstance(given, dict):
        return Reason(given["code"], {name: value for name, value in given.items() if name != "code"})
    return Reason(given) if given in WORDS else Reason("told", {"text": given})


def malformed(code: str, **parameters: Any) -> Reason:
    """Return the reason of a request that cannot be taken."""
    return Reason(f"malformed_{code}", parameters)


def _worded(name: str, value: Any, parameters: Mapping[str, Any], say: Say) -> str:
    if name == "identifiers":
        return "; ".join(map(_identifier, value))  # in English: the outcomes themselves are told beside it
    if name == "rules":
        return "; ".join(map(say, value))
    if name == "fault":
        return say(FAULTS[value]).format(**parameters)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _identifier(told: Mapping[str, Any]) -> str:
    named = f"identifier {told['number']} ({told['type']})"
    if told["kind"] is None:
        return f"{named} has no outcome on record"
    return f"{named}: {described(told['kind'], told['detail'])}"
