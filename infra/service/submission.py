"""The body of a submission: one JSON object or a list of them, each what a line of a request file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, NoReturn

from infra.requests.clock import Clock
from infra.requests.fields import Malformed, parse_demand
from infra.service.problems import Problem

MOST = 100  # requests in one body
_PLACE = re.compile(r"(identifiers)\[(\d+)\](?:\.(type|value))?|(subject|received|due|regime|model|identifiers)\b")


def read_json(body: bytes) -> Any:
    """Return what the body holds.

    Raises:
        Problem: It is no JSON in UTF-8, holds a field twice, or numbers and depths beyond reading.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):  # the error's text may quote the body
        raise Problem("not-json") from None


def read_submission(body: bytes, *, models: Collection[str], clock: Clock) -> list[tuple[dict[str, Any], str]]:
    """Return the requests of a body, each with the model it is for; all of them are well-formed.

    Args:
        body: As it was sent.
        models: Those that are registered; where there is one alone, a request need not name it.
        clock: Gives regime and due date of requests that have none.

    Raises:
        Problem: Any of them is malformed; the problem names all places, never a value.
    """
    found = read_json(body)
    documents = found if isinstance(found, list) else [found]
    if not 1 <= len(documents) <= MOST:
        raise Problem("invalid", errors=[("", f"a list holds 1 to {MOST} requests")])
    if not models:
        raise Problem("no-model")
    errors, good = [], []
    for number, document in enumerate(documents):
        try:
            good.append((document, _model_of(document, models, clock)))
        except Malformed as reason:
            errors.append((f"/{number}" * isinstance(found, list) + _pointer(str(reason)), str(reason)))
    if errors:
        raise Problem("invalid", errors=errors)
    return good


def _model_of(document: object, models: Collection[str], clock: Clock) -> str:
    if not isinstance(document, dict):
        raise Malformed("the request is not a JSON object")
    some = ", ".join(sorted(models)[:10])
    if document.get("model") is None and len(models) > 1:
        raise Malformed(f"model is missing, and there is more than one; name one of these: {some}")
    model = parse_demand(document, model=next(iter(models)), clock=clock).model
    if model not in models:
        raise Malformed(f"model is not one of those that are registered; name one of these: {some}")
    return model


def _pointer(reason: str) -> str:
    """The JSON pointer of the place that a reason begins with; of the request itself where it names none."""
    place = _PLACE.match(reason)
    return "".join(f"/{part}" for part in place.groups() if part) if place else ""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError
    return dict(pairs)


def _refuse(_: str) -> NoReturn:
    raise ValueError
