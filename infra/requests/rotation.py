"""Bringing what is stored to the deployment key in use, after another came into use.

What has a payload is wrapped, named and digested anew; of the rest pseudonyms remain, which earlier keys still find.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import rows, submissions, tables
from infra.requests.records import Identifier, Sought
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
            open.
    """
    open_ = session.scalars(select(tables.Batch.id).where(tables.Batch.status == "open")).all()
    if open_:
        raise OperationFailed(
            f"batch {open_[0]} is open, and its unfinished work has names under the earlier key: let it end ('revs "
            f"process') or give it up ('revs batches abandon {open_[0]}'), then run 'revs keys rotate' again"
        )
    query = select(tables.Request, tables.Payload).join(tables.Payload, tables.Payload.request_id == tables.Request.id)
    count = 0
    for request, payload in session.execute(query.with_for_update()):
        sealed = submissions.sealed(payload)
        plain = vault.open(sealed)
        _rename(vault, request, plain)
        payload.wrapped_key = vault.rewrapped(sealed).wrapped_key
        count += 1
    session.merge(tables.Meta(name=KEY_CHECK, value=checks[0]))
    rows.log(session, "keys.rotated", detail={"payloads": count})
    return count


def _rename(vault: Vault, request: tables.Request, plain: bytes) -> None:
    """Give a request the pseudonyms of the key in use: a demand, or the raw line of a malformed one."""
    if not request.types:
        request.digest = submissions.line_digest(vault, plain)
        return
    held = json.loads(plain)
    identifiers = tuple(Identifier(type=kind, value=value) for kind, value in held["identifiers"])
    sought = Sought(model=held["model"], subject=held["subject"], identifiers=identifiers)
    request.digest = submissions.digests(vault, sought)[0]
    request.subject = submissions.subject_of(vault, sought)
