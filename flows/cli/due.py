"""`revs requests due`, `extend`, `acknowledge`, `export-drop`: what the law's clock says, and what is put on record."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import By, Home, Json, answer, emit, settings_of, table, who_decides
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from datetime import date

    from infra.requests import Timeliness

_NAMED_AT_MOST = 3


def due(
    overdue: Annotated[bool, typer.Option("--overdue", help="Only what is overdue.")] = False,
    at_risk: Annotated[bool, typer.Option("--at-risk", help="Only what is at risk (REVS_AT_RISK_DAYS).")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show when every request that is not answered yet is due, the most urgent first. Exit code 3: one is overdue.

    Both options show both. Anything overdue ends in exit code 3, shown or not, and so does a confirmation of receipt.

    Example: revs requests due --overdue
    """
    from revs.errors import GateRefused

    found = store_of(settings_of(home)).timeliness()
    shown = [each for each in found if _is_asked_for(each, overdue=overdue, at_risk=at_risk)]
    if as_json:
        emit([asdict(each) for each in shown])
    else:
        table("requests by due date", [_row(each) for each in shown])
    late = [each.id for each in found if each.is_overdue]
    if late:
        named = ", ".join(late[:_NAMED_AT_MOST]) + (" …" if len(late) > _NAMED_AT_MOST else "")
        raise GateRefused(
            f"{len(late)} overdue ({named}): answer them, 'revs requests show ID' says how they stand; what was "
            "confirmed to the person already, put on record with 'revs requests acknowledge ID'"
        )


def _is_asked_for(found: Timeliness, *, overdue: bool, at_risk: bool) -> bool:
    if not overdue and not at_risk:
        return True
    return (overdue and found.is_overdue) or (at_risk and found.state == "at_risk")


def _row(found: Timeliness) -> dict[str, Any]:
    shown = {"due": f"by {found.acknowledge_by}", "overdue": f"overdue, {found.acknowledge_by}", "not_asked": None}
    return {
        "id": found.id,
        "model": found.model,
        "status": found.status,
        "regime": found.regime + (", extended" if found.extended else ""),
        "due": found.due,
        "days left": found.days_left,
        "state": found.state.replace("_", " "),
        "acknowledgement": shown.get(found.acknowledgement, found.acknowledgement),
    }


def extend(
    request_id: str,
    reason: Annotated[
        str, typer.Option(help="A code of the request's regime, such as complexity; a wrong one lists them.")
    ],
    by: By = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Put on record that the period of a request is extended: once, and while its first period runs.

    The law asks that the person is told by then, with the reason; this command tells nobody.

    Example: revs requests extend R-0a1b2c3d --reason complexity
    """
    new = store_of(settings_of(home)).extend(request_id, reason=reason, by=who_decides(by))
    said = f"{request_id} is due on {new} now; tell the person, with the reason, before the first period ends"
    answer({"id": request_id, "due": new}, said, as_json=as_json)


def acknowledge(request_ids: list[str], by: By = None, home: Home = None, as_json: Json = False) -> None:
    """Put on record that the receipt of requests was confirmed to the persons; this command tells nobody.

    Example: revs requests acknowledge R-0a1b2c3d R-4e5f6a7b
    """
    from revs.errors import BadInput

    store, who = store_of(settings_of(home)), who_decides(by)
    refused, done = [], []
    for request_id in request_ids:
        try:
            done.append({"id": request_id, "acknowledged_at": store.acknowledge(request_id, by=who)})
        except BadInput as error:
            refused.append(str(error))
    answer(done, f"{len(done)} acknowledged", as_json=as_json)
    if refused:
        raise BadInput("; ".join(refused))


def export_drop(
    since: Annotated[str | None, typer.Option(help="Only requests received on this day or later.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print the status of each request of the regime drop, as CSV: id, dates, and deleted, not_found or nothing yet.

    A status is about the model alone. exempted is for a human to add, and opted_out never arises: docs/due-dates.md.

    Example: revs requests export-drop --since 2026-11-01 > statuses.csv
    """
    found = [asdict(each) for each in store_of(settings_of(home)).drop_statuses(_day(since))]
    if as_json:
        emit(found)
    else:
        _write_csv(found)


def _write_csv(found: Sequence[dict[str, Any]]) -> None:
    import csv
    from dataclasses import fields

    from infra.requests import DropStatus

    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(DropStatus)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)


def _day(text: str | None) -> date | None:
    from infra.requests.fields import Malformed, parse_date
    from revs.errors import BadInput

    try:
        return None if text is None else parse_date(text, field="since")
    except Malformed:
        raise BadInput(f"--since {text!r} is not a date; write it as 2026-11-02") from None
