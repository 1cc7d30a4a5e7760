"""Bringing what is stored to the deployment key in use, after another came into use.

What has a payload is wrapped, named and digested anew; of the rest pseudonyms remain, which earlier keys still find.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import chain, facts, rows, submissions, tables
from revs.errors import OperationFailed

KEY_CHECK = "key_check"


def is_due(session: Session, checks: Sequence[str]) -> bool:
    """Whether what is stored is under an earlier key than the one in use, of which `checks` has the pseudonym first."""
    row = session.get(tables.Meta, KEY_CHECK)
    return row is not None and row.value != checks[0]


def bring_to_key_in_use(session: Session, vault: Vault, checks: Sequence[str]) -> int:
    """Wrap every payload under the key in use, all of them or none, and return how many there were.

    Raises:
        OperationFailed: A batch is open, whose unfinished work has names under the earlier key; or a payload does not
            open; or the key was in use before, so that what it signs counts as forged.
    """
    if is_due(session, checks) and chain.was_in_use(session, vault.sign_event):
        raise OperationFailed(
            "the deployment key was in use before another one, and who has it could add to the log; nothing was "
            "changed: put a key in use that never was, keep this one and the present one among the earlier keys, and "
            "run 'revs keys rotate' again"
        )
    open_ = session.scalars(select(tables.Batch.id).where(tables.Batch.status == "open")).all()
    if open_:
        raise OperationFailed(
            f"batch {open_[0]} is open, and its unfinished work has names under the earlier key: let it end ('revs "
            f"process') or give it up ('revs batches abandon {open_[0]}'), then run 'revs keys rotate' again"
        )
    query = select(tables.Request, tables.Payload).join(tables.Payload, tables.Payload.request_id == tables.Request.id)
    count = 0
    for request, payload in session.execute(query.with_for_update()):
        request.digest, request.subject = _names(vault, request, payload)
        rows.log(session, "request.renamed", request_id=request.id, detail={facts.STORED: facts.of_names(request)})
        payload.wrapped_key = vault.rewrapped(submissions.sealed(payload)).wrapped_key
        count += 1
    session.merge(tables.Meta(name=KEY_CHECK, value=checks[0]))
    rows.log(session, chain.KEYS_ROTATED, detail={"payloads": count})
    return count


def examine(session: Session, vault: Vault) -> None:
    """Make sure, before another key comes into use, that every payload opens and is the one of its request.

    Raises:
        OperationFailed: One is not; it is named.
    """
    query = select(tables.Request, tables.Payload).join(tables.Payload, tables.Payload.request_id == tables.Request.id)
    for request, payload in session.execute(query):
        _names(vault, request, payload)


def _names(vault: Vault, request: tables.Request, payload: tables.Payload) -> tuple[str, str]:
    """Return digest and subject of a request under the key in use: of a demand, or the raw line of a malformed one."""
    if not request.types:
        plain = vault.open(submissions.sealed(payload))
        found = submissions.line_digests(vault, plain)
        if request.digest not in found:
            raise submissions.is_another(request.id)
        return found[0], request.subject
    sought = submissions.unsealed(vault, request.id, request.digest, submissions.sealed(payload))
    return submissions.digests(vault, sought)[0], submissions.subject_of(vault, sought)
