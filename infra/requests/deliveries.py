"""Deliveries of webhooks: each is taken once, whichever process of the service it comes to, also after a restart."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore

KEPT = timedelta(hours=1)
"""For how long they are kept: longer than a delivery is taken for after it was signed."""


class Deliveries:
    """The deliveries of an installation, in the database of its request store."""

    def __init__(self, store: BatchStore) -> None:
        self._database = store._database  # the package's own: one engine a store

    def take(self, delivery: str) -> bool:
        """Note a delivery by its id and return True; False where it was noted before. What is old is forgotten."""
        name = hashlib.sha256(delivery.encode()).hexdigest()

        def work(session: Session) -> bool:
            session.execute(delete(tables.Delivery).where(tables.Delivery.at < rows.now() - KEPT))
            if session.get(tables.Delivery, name) is not None:
                return False
            session.add(tables.Delivery(id=name, at=rows.now()))  # where another process is faster, once more from here
            return True

        return self._database.write(work)
