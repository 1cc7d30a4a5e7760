"""Erasure requests as OpenDSR 2.0 writes them, section 7 of its specification; formerly OpenGDPR.

A second form of the JSON object that stands for a request: whatever takes that one takes this one too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, datetime
from typing import Any

from infra.requests.clock import Clock
from infra.requests.fields import EVERY_MODEL, Malformed, parse_demands, require_model
from infra.requests.records import Demand

REGULATIONS = ("gdpr", "ccpa")
TYPES = {
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",  # this and the next two: processors' own, the specification has no telephone numbers
    "phone_number": "PHONE_NUMBER",
    "mobile_number": "PHONE_NUMBER",
}
"""Identity types that can be sought in text. The others of the specification are ids of devices and customers."""
_MARKS = frozenset({"subject_request_id", "subject_request_type", "subject_identities"})
_FIELDS = (
    "regulation", "subject_request_id", "subject_request_type", "submitted_time", "subject_identities", "api_version",
    "status_callback_urls", "extensions",
)  # fmt: skip
_IDENTITY = {"identity_type", "identity_value", "identity_format"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_OURS = re.compile(r"^identifiers\[(\d+)\]\.value")


def read_demands(
    fields: Mapping[str, object],
    *,
    model: str,
    clock: Clock,
    models: Collection[str] | None = None,
    must_name: bool = False,
) -> list[Demand]:
    """Return what a request demands of each of its models, in whichever of the two forms it is written.

    Args:
        fields: The request as a JSON object.
        model: As of `parse_demands`.
        clock: As of `parse_demands`.
        models: As of `parse_demands`.
        must_name: Whether a request has to name its model; one in OpenDSR's form is for all of them then.

    Raises:
        Malformed: As `parse_demands`, in the words of the form.
    """
    if not is_one(fields):
        if must_name:
            require_model(fields, models or ())
        return parse_demands(fields, model=model, clock=clock, models=models)
    ours = as_request(fields, clock=clock, every_model=must_name)
    try:
        return parse_demands(ours, model=model, clock=clock, models=models)
    except Malformed as error:
        raise in_its_words(error) from None


def is_one(fields: Mapping[str, object]) -> bool:
    """Whether a JSON object is meant as a request of OpenDSR."""
    return not _MARKS.isdisjoint(fields)


def as_request(fields: Mapping[str, object], *, clock: Clock, every_model: bool) -> dict[str, Any]:
    """Return the fields of a request as a request file has them.

    Args:
        fields: The request in OpenDSR's form.
        clock: Whose day the submitted time is on.
        every_model: Whether it is for every registered model, since OpenDSR names none; else for the default one.

    Raises:
        Malformed: It is no erasure request, or one that cannot be fulfilled as it stands.
    """
    if not fields.keys() <= set(_FIELDS):
        raise Malformed("opendsr_field", fields=list(_FIELDS))
    if _word(fields, "subject_request_type") != "erasure":
        raise Malformed("opendsr_type")
    regulation = _word(fields, "regulation")
    if regulation not in REGULATIONS:
        raise Malformed("opendsr_regulation", regimes=list(REGULATIONS))
    request_id = fields.get("subject_request_id")
    if not isinstance(request_id, str) or not _UUID.fullmatch(request_id):
        raise Malformed("opendsr_id")
    listed = fields.get("subject_identities")
    if not isinstance(listed, list) or not listed:
        raise Malformed("opendsr_identities")
    request = {
        "subject": request_id.lower(),
        "received": f"{_submitted(fields.get('submitted_time'), clock)}",
        "regime": regulation,
        "identifiers": [_identifier(item, f"subject_identities[{number}]") for number, item in enumerate(listed)],
    }
    return request | ({"model": EVERY_MODEL} if every_model else {})


def in_its_words(error: Malformed) -> Malformed:
    """Return what is wrong with the fields of a request in the words of OpenDSR."""
    parameters = dict(error.reason.parameters)
    if "field" in parameters:
        ours = "submitted_time" if parameters["field"] == "received" else parameters["field"]
        parameters["field"] = _OURS.sub(r"subject_identities[\1].identity_value", ours)
    return Malformed(error.code, **parameters)


def _word(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value.strip().lower() if isinstance(value, str) else ""


def _submitted(value: object, clock: Clock) -> date:
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return clock.day(datetime.fromisoformat(value.upper()))
    except (ValueError, OverflowError):  # the 31st of February, the first hours of year 1; their text holds the value
        pass
    raise Malformed("opendsr_time")


def _identifier(item: object, within: str) -> dict[str, object]:
    if not isinstance(item, Mapping) or item.keys() != _IDENTITY:
        raise Malformed("opendsr_identity", field=within, fields=sorted(_IDENTITY))
    kind = TYPES.get(str(item["identity_type"]))
    if kind is None:
        raise Malformed("opendsr_identity_type", field=within, types=list(TYPES))
    if item["identity_format"] != "raw":
        raise Malformed("opendsr_format", field=within)
    return {"type": kind, "value": item["identity_value"]}
