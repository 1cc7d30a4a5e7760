"""A line of a request's history: what of an event is shown, and nothing that is not named."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from infra.requests.history import line
from infra.requests.records import Event

AT = datetime(2026, 11, 30, 9, 30, tzinfo=UTC)


def event(**detail: Any) -> Event:
    return Event(id=1, at=AT, event="request.extended", batch_id=None, request_id="R-1", detail=detail)


@pytest.mark.parametrize(
    ("detail", "by", "why"),
    [
        ({}, None, ""),
        ({"by": "ana"}, "ana", ""),
        ({"by": "ana", "reason": "complexity", "from": "2026-12-02", "to": "2027-02-02"}, "ana",
         "the request is complex; 2026-12-02 → 2027-02-02"),
        ({"duplicate_of": "R-2"}, None, "because of R-2"),
        ({"instead_of": "R-2"}, None, "because of R-2"),
        ({"from": "2026-12-02", "to": "2026-12-01", "because_of": "R-2"}, None,
         "2026-12-02 → 2026-12-01; because of R-2"),
        ({"day": "2026-12-02"}, None, "day 2026-12-02"),
        ({"from": "received", "to": 7}, None, ""),  # under these names, and no dates
        ({"note": "Zorblatt", "subject": "Zorblatt"}, None, ""),  # whatever else a detail holds
    ],
)  # fmt: skip
def test_a_line_says_who_and_why(detail: dict[str, Any], by: str | None, why: str) -> None:
    found = line(event(**detail))
    assert (found.by, found.why) == (by, why) and "Zorblatt" not in repr(found)


def test_dates_are_dates() -> None:
    found = line(event(**{"from": "2026-12-02", "to": "2027-02-02"}))
    assert (found.before, found.after, found.at) == (date(2026, 12, 2), date(2027, 2, 2), AT)
