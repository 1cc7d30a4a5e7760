"""The body of a submission: one JSON object or a list of them, each what a line of a request file holds."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from infra.requests.clock import Clock
from infra.requests.fields import Malformed
from infra.requests.opendsr import read_demands
from infra.service.problems import Problem

MOST = 100  # requests in one body
_A_DAY = timedelta(days=1)
_PLACE = re.compile(r"(identifiers|subject_identities)\[(\d+)\](?:\.([a-z_]+))?|([a-z_]+) (?:is|holds|names)\b")


def read_json(body: bytes) -> Any:
    """Return what the body holds.

    Raises:
        Problem: It is no JSON in UTF-8, holds a field twice, or numbers and depths beyond reading.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):  # the error's text may quote the body
        raise Problem("not-json") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A well-formed request of a body: the object, the model that it means if it names none, and all that it is for."""

    document: dict[str, Any] = field(repr=False)
    model: str
    models: tuple[str, ...]


def read_submission(body: bytes, *, models: Collection[str], clock: Clock, may_be_later: bool = False) -> list[Wanted]:
    """Return the requests of a body; all of them are well-formed.

    Args:
        body: As it was sent.
        models: Those that are registered; where there is one alone, a request need not name it.
        clock: Gives regime and due date of requests that have none.
        may_be_later: Whether a request may name a due date after that of its law.

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
            good.append(_wanted(document, models, clock, may_be_later=may_be_later))
        except Malformed as reason:
            errors.append((f"/{number}" * isinstance(found, list) + _pointer(str(reason)), str(reason)))
    if errors:
        raise Problem("invalid", errors=errors)
    return good


def _wanted(document: object, models: Collection[str], clock: Clock, *, may_be_later: bool) -> Wanted:
    if not isinstance(document, dict):
        raise Malformed("no_object")
    default = next(iter(models))
    demands = read_demands(document, model=default, clock=clock, models=models, must_name=len(models) > 1)
    if demands[0].received > clock.today() + _A_DAY:  # it is tomorrow already somewhere
        raise Malformed("in_future")
    by_law = demands[0].regime.due_date(demands[0].received)
    if demands[0].due > by_law and not may_be_later:
        raise Malformed("due_late", day=f"{by_law}")
    return Wanted(document=document, model=default, models=tuple(each.model for each in demands))


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
