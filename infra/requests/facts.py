"""What the audit log says of a row on the day it is stored: so that a change behind the program's back is found.

Only what is safe to show: dates, names of laws and models, ids, pseudonyms; of the rest a SHA-256 over its canonical
JSON. `replay` compares with them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import tables

STORED = "stored"
"""Under this name they stand in the detail of an event."""


def as_kept(value: object) -> Any:
    """Return a value as a database gives it back that keeps it as JSON: a number that JSON has not is null."""
    return json.loads(json.dumps(value), parse_constant=lambda _: None)


def canonical(value: object) -> bytes:
    """Return the JSON of what JSON can hold, the same for equal values: keys sorted, ASCII, no blanks."""
    # Of bytes, which stand in a damaged file alone, something is digested: it does not fit what was.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr).encode()


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of a value, 64 hex digits."""
    return hashlib.sha256(canonical(as_kept(value))).hexdigest()


def moment(value: datetime | None) -> str | None:
    """Return a time as text; None where there is none, as in a damaged row."""
    return None if value is None else value.isoformat()


def of_request(row: tables.Request) -> dict[str, Any]:
    """What of a request is frozen when it is taken in, or changes only with an event that says so."""
    return {
        "case": row.case_id,
        "digest": row.digest,
        "dropped": digest(row.dropped),
        "due": f"{row.due}",
        "line": row.line,
        "model": row.model,
        "policy": digest(row.policy),
        "received": f"{row.received}",
        "regime": row.regime,
        "subject": row.subject,
        "submission": row.submission_id,
        "submitted_at": moment(row.submitted_at),
        "submitted_by": row.submitted_by,
        "types": row.types,
    }


def of_names(row: tables.Request) -> dict[str, Any]:
    """What another deployment key changes of a request."""
    return {"digest": row.digest, "subject": row.subject}


def of_narrowed(row: tables.Request) -> dict[str, Any]:
    """What dropping an identifier changes of a request."""
    return {"digest": row.digest, "dropped": digest(row.dropped), "types": row.types}


def of_batch(row: tables.Batch) -> dict[str, Any]:
    """What of a batch is frozen when it is opened; the corpus as a digest, for a path can be personal data."""
    return {
        "corpus": digest(row.corpus),
        "model": row.model,
        "opened_at": moment(row.opened_at),
        "parent": row.parent,
        "source": row.source,
    }


def of_end(session: Session, row: tables.Batch, *, anew: bool) -> dict[str, Any]:
    """What of a batch is frozen when it ends; with one digest over all of its outcomes where there are new ones.

    What was logged before is not logged again as it stands: that would make a change in between pass.
    """
    said = {"closed_at": moment(row.closed_at), "outcome": digest(row.outcome)}
    if anew:
        columns = tables.Outcome.__table__.columns
        said["outcomes"] = of_outcomes(session.execute(select(*columns).where(columns["batch_id"] == row.id)))
    return said


def of_outcomes(found: Iterable[Any]) -> str:
    """One digest of rows of outcomes, in whichever order they come."""
    said = [[row.request_id, row.number, row.type, row.kind, row.detail, moment(row.at)] for row in found]
    return digest(sorted(said, key=lambda each: each[:2]))


def of_token(row: tables.Token) -> dict[str, Any]:
    """What of a token is frozen when it is made; of its hash a digest, so that the log opens nothing."""
    return {
        "expires_at": moment(row.expires_at),
        "hash": digest(row.hash),
        "made_at": moment(row.made_at),
        "name": row.name,
        "role": row.role,
    }
