"""The identifiers of a request for people: number, type, and what is known of each; never a value."""

from __future__ import annotations

from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import closing, sealing, tables
from infra.requests.reasons import Reason
from infra.requests.records import IdentifierView


def of_request(session: Session, vault: Vault, row: tables.Request) -> list[IdentifierView]:
    """Return what is known of each identifier of a request, by number; later knowledge goes before earlier."""
    found: dict[int, IdentifierView] = {}
    for held in sealing.find(session, tables.Request.id == row.id):
        for number, type_ in sealing.types_of(vault, held).items():
            found[number] = IdentifierView(number=number, type=type_, kind="not_sought", detail={})
    for each in closing.find_outcomes(session, row.id, None):
        found[each.number] = IdentifierView(number=each.number, type=each.type, kind=each.kind, detail=each.detail)
    for one in row.dropped:
        why = {"reason": one["reason"], "why": str(Reason(one["reason"]))}
        found[one["number"]] = IdentifierView(number=one["number"], type=one["type"], kind="dropped", detail=why)
    return [found[number] for number in sorted(found)]
