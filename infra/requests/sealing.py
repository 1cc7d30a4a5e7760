"""Payloads of requests: each identifier sealed by itself, bound to its request and to its place in it.

A request has a part for who asks, or for its line as it was handed in where that is malformed, and one for each
identifier. Whether a part is missing shows in the digest of the request, which stands for all of them together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, insert, select
from sqlalchemy.orm import Session

from infra.keys.vault import Sealed, Vault
from infra.requests import rows, tables
from infra.requests.records import UNANSWERED, Identifier, Sought
from revs.errors import OperationFailed

WHO = -1
"""The number of the part that says who asks, or holds a malformed line; the others have their identifier's number."""

Part = dict[str, Any]
"""The columns of one row of payloads."""

_PAYLOADS = tables.Base.metadata.tables["payloads"]
_ONCE_BLIND = frozenset({"PERSON"})  # digests that earlier programs stored take names in any case as one


@dataclass(frozen=True, slots=True)
class Held:
    """The sealed payload of one request, by number, and the digest that it was stored with."""

    request_id: str
    digest: str
    parts: Mapping[int, Sealed]


def of_demand(vault: Vault, request_id: str, sought: Sought) -> list[Part]:
    """Return the parts of a demand's payload, for `put`."""
    texts = {WHO: {"model": sought.model, "subject": sought.subject}} | {
        each.number: {"type": each.type, "value": each.value} for each in sought.identifiers
    }
    return [_part(vault, request_id, number, json.dumps(text).encode()) for number, text in texts.items()]


def of_line(vault: Vault, request_id: str, raw: bytes) -> list[Part]:
    """Return the one part of the payload of a request that is malformed, for `put`."""
    return [_part(vault, request_id, WHO, raw)]


def put(session: Session, parts: Sequence[Part]) -> None:
    """Store parts of payloads, of requests that are stored."""
    session.execute(insert(_PAYLOADS), parts)


def find(session: Session, *where: ColumnElement[bool]) -> list[Held]:
    """Return the payloads of the requests for which all of `where` holds, due first; of those that have one."""
    request, part = tables.Request, tables.Payload
    query = (  # columns, not objects: the end of a batch reads thousands while others wait
        select(request.id, request.digest, part.number, part.wrapped_key, part.ciphertext)
        .join(part, part.request_id == request.id)
        .where(*where)
        .order_by(*rows.DUE_FIRST, request.id, part.number)
    )
    by_request = groupby(session.execute(query), key=lambda row: (row[0], row[1]))
    return [
        Held(
            request_id, digest, {number: Sealed(wrapped_key=key, ciphertext=text) for _, _, number, key, text in found}
        )
        for (request_id, digest), found in by_request
    ]


def opened(vault: Vault, held: Held) -> Sought:
    """Return all that the payload of a request holds.

    Raises:
        OperationFailed: A part does not open, is missing, or is not the one that was stored with this request.
    """
    try:
        texts = {number: json.loads(_open(vault, held, number)) for number in sorted(held.parts)}
        who = texts.pop(WHO)
        identifiers = tuple(
            Identifier(type=text["type"], value=text["value"], number=number) for number, text in texts.items()
        )
        sought = Sought(model=who["model"], subject=who["subject"], identifiers=identifiers)
    except (ValueError, KeyError, TypeError):  # who asks is missing, or it is the line of a malformed request
        raise is_another(held.request_id) from None
    _require(vault, held, sought)
    return sought


def types_of(vault: Vault, held: Held) -> dict[int, str]:
    """Return the types of the identifiers that a payload holds, by number; none where a part does not open."""
    with suppress(OperationFailed):
        return {each.number: each.type for each in opened(vault, held).identifiers}
    return {}


def opened_line(vault: Vault, held: Held) -> bytes:
    """Return the line of a malformed request as it was handed in; raises as `opened`."""
    if held.parts.keys() != {WHO}:
        raise is_another(held.request_id)
    raw = _open(vault, held, WHO)
    if held.digest not in line_digests(vault, raw):
        raise is_another(held.request_id)
    return raw


def is_usable(vault: Vault, held: Held) -> bool:
    """Return whether the payload of a request gives its identifiers."""
    try:
        opened(vault, held)
    except OperationFailed:
        return False
    return True


def problems(session: Session, vault: Vault) -> Iterator[str]:
    """Say what is wrong with the payloads, one after the other: the audit log tells nothing of them."""
    request = tables.Request
    held = {each.request_id: each for each in find(session)}
    rows_ = session.execute(select(request.id, request.status, request.types)).all()
    for id_, status, types in rows_:
        if status in UNANSWERED and id_ not in held:
            yield f"the payload of request {id_} is gone, and it still waits ({status})"
        elif status in ("completed", "withdrawn") and id_ in held:
            yield f"request {id_} is {status}, and its payload is still there or was put back"
        elif id_ in held:
            try:
                opened(vault, held[id_]) if types else opened_line(vault, held[id_])
            except OperationFailed as error:
                yield str(error)


def is_another(request_id: str) -> OperationFailed:
    """Return the error that a payload is not that of its request."""
    return OperationFailed(
        f"the payload of request {request_id} is not the one it was stored with; restore the request store"
    )


def digests(vault: Vault, sought: Sought, *, blind: Set[str] = frozenset()) -> list[str]:
    """Return what makes two demands the same: under the deployment key in use first, then under earlier ones."""
    return vault.pseudonyms(json.dumps(sought.canonical(blind=blind)), kind="demand")


def line_digests(vault: Vault, raw: bytes) -> list[str]:
    """Return what stands for a malformed line: under the deployment key in use first, then under earlier ones."""
    return vault.pseudonyms(raw.decode("utf-8", "surrogateescape"), kind="line")


def subject_of(vault: Vault, sought: Sought) -> str:
    """Return the pseudonym of who asks."""
    return vault.pseudonym(sought.subject, kind="subject")


def split_whole(session: Session, vault: Vault) -> None:
    """Bring payloads from before schema 0006 to today's form: one sealed text held the whole demand.

    A duplicate that had none of its own gets that of its first one: the demand is the same. What does not open stays
    as it is, and is found when it is used.
    """
    for held in find(session):
        whole = held.parts[WHO]
        try:
            parts = _of_whole(vault, held, vault.open_unbound(whole))
        except OperationFailed:
            continue
        session.delete(session.get_one(tables.Payload, (held.request_id, WHO)))
        session.flush()
        put(session, parts)
    _give_duplicates_theirs(session, vault)


def _of_whole(vault: Vault, held: Held, plain: bytes) -> list[Part]:
    if held.digest in line_digests(vault, plain):
        return of_line(vault, held.request_id, plain)
    try:
        told = json.loads(plain)
        identifiers = tuple(
            Identifier(type=kind, value=value, number=number)
            for number, (kind, value) in enumerate(told["identifiers"])
        )
        sought = Sought(model=told["model"], subject=told["subject"], identifiers=identifiers)
    except (ValueError, KeyError, TypeError):
        raise is_another(held.request_id) from None
    _require(vault, held, sought)
    return of_demand(vault, held.request_id, sought)


def _require(vault: Vault, held: Held, sought: Sought) -> None:
    if held.digest not in digests(vault, sought) and held.digest not in digests(vault, sought, blind=_ONCE_BLIND):
        raise is_another(held.request_id)


def _give_duplicates_theirs(session: Session, vault: Vault) -> None:
    held = select(tables.Payload.request_id)
    query = select(tables.Request).where(
        tables.Request.status == "duplicate", tables.Request.id.not_in(held), tables.Request.duplicate_of.in_(held)
    )
    for duplicate in session.scalars(query).all():
        for theirs in find(session, tables.Request.id == duplicate.duplicate_of):
            if is_usable(vault, theirs):
                put(session, of_demand(vault, duplicate.id, opened(vault, theirs)))


def _part(vault: Vault, request_id: str, number: int, plain: bytes) -> Part:
    found = vault.seal(plain, of=_place(request_id, number))
    return {
        "request_id": request_id, "number": number, "wrapped_key": found.wrapped_key, "ciphertext": found.ciphertext
    }  # fmt: skip


def _open(vault: Vault, held: Held, number: int) -> bytes:
    try:
        return vault.open(held.parts[number], of=_place(held.request_id, number))
    except OperationFailed as error:
        raise OperationFailed(f"request {held.request_id}: {error}") from None


def _place(request_id: str, number: int) -> str:
    return f"payload {request_id} {number}"


def sealed(row: tables.Payload) -> Sealed:
    """Return the sealed part of a row."""
    return Sealed(wrapped_key=row.wrapped_key, ciphertext=row.ciphertext)
