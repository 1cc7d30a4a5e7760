"""Checks of one deletion request, field by field. A reason names the field and what it must be, never what it held."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from datetime import date
from typing import Any

from infra.identifiers.wellformed import fault
from infra.requests.clock import Clock, names
from infra.requests.reasons import malformed
from infra.requests.records import IDENTIFIER_TYPES, Demand, Identifier
from infra.requests.regimes import Regime

EVERY_MODEL = "*"
"""What a request names as its model to mean all that are registered: erase me everywhere."""

_NAMED_AT_MOST = 10
MAX_TEXT = 1000  # characters of a subject or an identifier
MAX_IDENTIFIERS = 1000  # of one request
MAX_MODELS = 100
_FIELDS = ("subject", "received", "due", "regime", "model", "identifiers")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Narrow on purpose: the model is stored readably, and a value in the wrong column must not end there.
_MODEL = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,127}")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Malformed(Exception):
    """Why a request cannot be taken; safe to show and to store.

    Args:
        code: Of `reasons.MALFORMED`.
        parameters: What its sentence names.
    """

    def __init__(self, code: str, **parameters: Any) -> None:
        self.code, self.reason = code, malformed(code, **parameters)
        super().__init__(str(self.reason))


def parse_demands(
    fields: Mapping[str, object], *, model: str, clock: Clock, models: Collection[str] | None = None
) -> list[Demand]:
    """Check the fields of one request, and return what it demands of each model that it names.

    Args:
        fields: The request as a JSON object.
        model: The model it is meant for when it names none.
        clock: Gives the regime when it names none, and the due date when it names none.
        models: The models that there are; None: any.

    Raises:
        Malformed: A field is missing, unknown or not what it must be.
    """
    if not fields.keys() <= set(_FIELDS):
        raise Malformed("unknown_field", fields=list(_FIELDS))
    received = parse_date(fields.get("received"), field="received")
    regime = _regime(fields.get("regime"), clock)
    due = _due(fields.get("due"), received, regime)
    listed = fields.get("identifiers")
    if not isinstance(listed, list) or not listed:
        raise Malformed("no_identifiers")
    if len(listed) > MAX_IDENTIFIERS:
        raise Malformed("many_identifiers", most=MAX_IDENTIFIERS)
    identifiers = [parse_identifier(item, within=f"identifiers[{index}]") for index, item in enumerate(listed)]
    unique: dict[tuple[str, str], Identifier] = {}
    for identifier in identifiers:
        unique.setdefault(identifier.canonical(), identifier)
    distinct = tuple(replace(identifier, number=number) for number, identifier in enumerate(unique.values()))
    subject = parse_text(fields.get("subject"), field="subject")
    return [
        Demand(
            subject=subject,
            received=received,
            due=due,
            regime=regime,
            model=name,
            identifiers=distinct,
        )
        for name in _models(fields.get("model"), model, identifiers, models)
    ]


def require_model(fields: Mapping[str, object], models: Collection[str]) -> None:
    """Raise Malformed where a request names no model, of which there is more than one."""
    if fields.get("model") is None:
        raise Malformed("which_model", models=_some(models))


def parse_text(value: object, *, field: str) -> str:
    """Return the text without surrounding whitespace; it has a letter or digit and at most `MAX_TEXT` characters."""
    if not isinstance(value, str) or not any(character.isalnum() for character in value):
        raise Malformed("no_text", field=field)
    text = value.strip()
    if len(text) > MAX_TEXT:
        raise Malformed("too_long", field=field, most=MAX_TEXT)
    if _SURROGATE.search(text):
        raise Malformed("no_unicode", field=field)
    return text


def parse_date(value: object, *, field: str) -> date:
    """Return a date written as 2026-11-02, and in no other way."""
    try:
        if isinstance(value, str) and _DATE.fullmatch(value.strip()):
            return date.fromisoformat(value.strip())
    except ValueError:  # such as the 31st of February; the error's text holds the value
        pass
    raise Malformed("no_date", field=field)


def parse_identifier(item: object, *, within: str = "") -> Identifier:
    """Return the identifier of `{"type": ..., "value": ...}`; `within` is its place in the request, for the reason."""
    if not isinstance(item, Mapping) or item.keys() != {"type", "value"}:
        raise Malformed("no_identifier", field=within)
    prefix = f"{within}." if within else ""
    if item["type"] not in IDENTIFIER_TYPES:
        raise Malformed("unknown_type", field=f"{prefix}type", types=list(IDENTIFIER_TYPES))
    value = parse_text(item["value"], field=f"{prefix}value")
    wrong = fault(item["type"], value)
    if wrong:
        raise Malformed("bad_value", field=f"{prefix}value", type=item["type"], fault=wrong.code, **wrong.parameters)
    return Identifier(type=item["type"], value=value)


def _regime(value: object, clock: Clock) -> Regime:
    try:
        if value is None or isinstance(value, str):
            return clock.named(value)
    except KeyError:  # its text is the value
        pass
    raise Malformed("unknown_regime", regimes=names())


def _due(value: object, received: date, regime: Regime) -> date:
    try:
        by_law = regime.due_date(received)  # also where the request names its own: other days are counted from it
    except OverflowError:
        raise Malformed("too_far", field="received") from None
    if value is None:
        return by_law
    due = parse_date(value, field="due")
    if due < received:
        raise Malformed("due_early")
    return due


def _models(
    value: object, default: str, identifiers: Sequence[Identifier], models: Collection[str] | None
) -> list[str]:
    """The names of a request's models: its own, several, all that there are, or the default."""
    if value == EVERY_MODEL:
        if not models:
            raise Malformed("no_model")
        return sorted(models)
    listed = value if isinstance(value, list) and value else [value]
    if len(listed) > MAX_MODELS:
        raise Malformed("many_models", most=MAX_MODELS)
    values = frozenset(identifier.value for identifier in identifiers)
    names = [_model(each, default, values) for each in listed]
    if models is not None and not set(models) >= set(names):
        raise Malformed("unknown_model", models=_some(models))
    return sorted(set(names))


def _some(models: Collection[str]) -> list[str]:
    return sorted(models)[:_NAMED_AT_MOST]


def _model(value: object, default: str, values: Set[str]) -> str:
    if value is None or value == default:
        return default
    if not isinstance(value, str) or not _MODEL.fullmatch(value) or value in values:
        raise Malformed("bad_model")
    return value
