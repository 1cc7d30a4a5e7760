"""What was erased, as keyed digests: whether a model generates it again can be asked, when nobody holds it any more.

Kept only where the installation says so (`Settings.keep_digests`). A digest is the HMAC of the type and the form in
which all spellings of an identifier are equal: under the suppression key or, where there is none, under the deployment
key and of a kind of its own. Without the key it tells nothing and compares with no other digest of the store. Who has
the key can try every value there is (of a social security number 10⁹), so with it the list still is personal data.

Beside a digest stand its type, its model and the day. Nothing else joins it to a request or to another digest: the rows
of a batch are written in the order of their digests. A day on which one request was completed tells that they are its.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Set
from datetime import UTC, date, datetime

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from infra.identifiers.normalise import fold, identity
from infra.keys.vault import Vault
from infra.requests import rows, tables
from infra.requests.database import Database
from infra.requests.records import ErasedDigest, Identifier
from revs.errors import OperationFailed

_KEPT, _DROPPED, _EXPIRED = "digests.kept", "digests.dropped", "digests.expired"


class ErasedList:
    """Digests of what was erased: tells whether a value is among them, and names none."""

    def __init__(self, vault: Vault, entries: Iterable[ErasedDigest], *, not_listed: int = 0) -> None:
        """Hold a list.

        Args:
            vault: of the installation that made the digests.
            entries: the digests.
            not_listed: completed requests of which no digest was kept.
        """
        self._vault = vault
        self._entries: dict[str, list[ErasedDigest]] = defaultdict(list)
        for entry in entries:
            self._entries[entry.digest].append(entry)
        self.not_listed = not_listed
        self.by_type = Counter(found[0].type for found in self._entries.values())
        """How many different identifiers of each type are on the list."""

    @property
    def entries(self) -> list[ErasedDigest]:
        """All digests of the list."""
        return [entry for found in self._entries.values() for entry in found]

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, value: str, types: Set[str] | None = None) -> list[ErasedDigest]:
        """Return what the list holds of a value under any type of `types`, None: under any; the latest erasure of each.

        A value that a detector takes for another type than the one it was erased under is found as well.
        """
        asked = self.by_type.keys() if types is None else self.by_type.keys() & types
        digests = (each for type_ in asked for each in digests_of(self._vault, Identifier(type=type_, value=value)))
        found = (self._entries[digest] for digest in digests if digest in self._entries)
        return [max(entries, key=lambda entry: entry.erased_on) for entries in found]


def digests_of(vault: Vault, identifier: Identifier) -> list[str]:
    """Return the digest of an identifier, the same for all of its spellings; case tells only in own strings.

    Under the key in use first, then under earlier ones.
    """
    type_, value = identifier.type, identifier.value
    form = fold(value, casefold=False).text.strip() if type_ == "CUSTOM" else identity(type_, value)
    return vault.digests_of_erased(form, kind=type_)


def keep(
    session: Session, vault: Vault, batch: tables.Batch, identifiers: Iterable[Identifier], *, of: str | None = None
) -> None:
    """Put the identifiers of a batch's completed requests on the list; of one that stands there the day moves.

    `of`: the one request whose they are, which a human completed; None: all that the batch completes.
    """
    types = {digests_of(vault, each)[0]: each.type for each in identifiers}
    for digest in sorted(types):
        row = tables.ErasedDigest(digest=digest, model=batch.model, type=types[digest], erased_on=rows.now().date())
        session.merge(row)
    rows.log(session, _KEPT, batch_id=None if of else batch.id, request_id=of, detail={"digests": len(types)})


def listed(session: Session, vault: Vault, model: str | None) -> ErasedList:
    """Return the list of what was erased from a model, None: from any."""
    query = rows.matching(tables.ErasedDigest, model=model)
    entries = [rows.record(ErasedDigest, row) for row in session.scalars(query)]
    completed = rows.matching(tables.Request, model=model, status="completed").where(_is_not_listed(session))
    not_listed = session.scalar(select(func.count()).select_from(completed.subquery()))
    return ErasedList(vault, entries, not_listed=not_listed or 0)


def _is_not_listed(session: Session) -> ColumnElement[bool]:
    """The condition that no digest of a completed request is on the list: none was kept, or it is gone again."""
    event, request = tables.Event, tables.Request
    dropped = select(func.coalesce(func.max(event.id), 0)).where(event.event == _DROPPED).scalar_subquery()
    kept = (event.event == _KEPT, event.id > dropped)
    by_batch = select(event.batch_id).where(*kept, event.batch_id.is_not(None))
    by_human = select(event.request_id).where(*kept, event.request_id.is_not(None))
    accepted = select(event.request_id).where(event.event == "request.accepted")
    none_kept = or_(
        and_(request.id.in_(accepted), request.id.not_in(by_human)),
        and_(request.id.not_in(accepted), request.batch_id.not_in(by_batch)),
    )
    gone = [detail["before"] for detail in session.scalars(select(event.detail).where(event.event == _EXPIRED))]
    if not gone:
        return none_kept
    return none_kept | (request.closed_at < datetime.fromisoformat(max(gone)).replace(tzinfo=UTC))


def expire(session: Session, before: date) -> int:
    """Delete the digests of what was erased before a day; return how many there were."""
    of_before = tables.ErasedDigest.erased_on < before
    held = session.scalar(select(func.count()).select_from(tables.ErasedDigest).where(of_before)) or 0
    if held:
        session.execute(delete(tables.ErasedDigest).where(of_before))
        rows.log(session, _EXPIRED, detail={"digests": held, "before": f"{before}"})
    return held


def drop(database: Database) -> int:
    """Delete the list and its bytes in the database files; return how many digests it held.

    Raises:
        OperationFailed: Another process keeps the database busy, so bytes are left; the list is empty all the same.
    """

    def work(session: Session) -> int:
        held = session.scalar(select(func.count()).select_from(tables.ErasedDigest)) or 0
        session.execute(delete(tables.ErasedDigest))
        rows.log(session, _DROPPED, detail={"digests": held})
        return held

    held = database.write(work)
    if not database.vacuum():
        raise OperationFailed(
            f"{held} digests were dropped, but another process keeps the database busy and its files still hold "
            "their bytes; run it again when that has ended"
        )
    return held
