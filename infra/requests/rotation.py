"""Bringing what is stored to the deployment key in use, after another came into use.

What has a payload is wrapped, named and digested anew; of the rest pseudonyms remain, which earlier keys still find.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import chain, facts, rows, sealing, tables
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
    for payload in session.scalars(select(tables.Payload).with_for_update()):
        payload.wrapped_key = vault.rewrapped(sealing.sealed(payload)).wrapped_key
    session.flush()
    found = sealing.find(session)
    for held in found:
        request = session.get_one(tables.Request, held.request_id, with_for_update=True)
        request.digest, request.subject = _names(vault, held, is_malformed=not request.types)
        rows.log(session, "request.renamed", request_id=request.id, detail={facts.STORED: facts.of_names(request)})
    session.merge(tables.Meta(name=KEY_CHECK, value=checks[0]))
    rows.log(session, chain.KEYS_ROTATED, detail={"payloads": len(found)})
    return len(found)


def examine(session: Session, vault: Vault) -> None:
    """Make sure, before another key comes into use, that every payload opens and is the one of its request.

    Raises:
        OperationFailed: One is not; it is named.
    """
    malformed = {row.id for row in session.scalars(select(tables.Request)) if not row.types}
    for held in sealing.find(session):
        _names(vault, held, is_malformed=held.request_id in malformed)


def _names(vault: Vault, held: sealing.Held, *, is_malformed: bool) -> tuple[str, str]:
    """Return digest and subject of a request under the key in use; a malformed one has its line, and no subject."""
    if is_malformed:
        return sealing.line_digests(vault, sealing.opened_line(vault, held))[0], ""
    sought = sealing.opened(vault, held)
    return sealing.digests(vault, sought)[0], sealing.subject_of(vault, sought)
