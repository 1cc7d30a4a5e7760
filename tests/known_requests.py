"""What a model of the life cycle knows of one request; no tests here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

BOTH = ("US_SSN", "EMAIL_ADDRESS")
NOWHERE = {"without_corpus": {"openings": 1, "verdict": "not memorised"}}
ENDS = {"request.completed", "request.accepted", "request.withdrawn", "request.rejected", "request.refused"}


@dataclass
class Known:
    """What the model knows of one request."""

    person: int
    state: str
    received: date
    due: date
    first: str | None = None  # of a duplicate
    by: str | None = None
    refused: bool = False
    extended: bool = False
    payload: bool = True
    asks: tuple[str, ...] = BOTH
    dropped: int | None = None  # the number of the identifier it was narrowed by
    looked_for: bool = False  # its last batch left nothing of what it asks for now
    in_effect: bool = False  # and what that batch did took effect
    lot: str | None = None

    def __setattr__(self, name: str, value: object) -> None:
        """Whatever happens to a request takes it out of its lot; where it does not, `in_its_lot` says so."""
        super().__setattr__(name, value)
        if name == "state":
            self.lot = None

    def in_its_lot(self, state: str) -> None:
        lot = self.lot
        self.state = state
        self.lot = lot


def next_in_line(order: Sequence[str], known: Mapping[str, Known]) -> list[str]:
    """What a new batch takes: the largest lot, of equal ones the one that is due first, or all that waits."""
    waiting = [id_ for id_ in order if known[id_].state == "received"]
    waiting.sort(key=lambda id_: (known[id_].due, known[id_].received, order.index(id_)))
    lots: dict[str, list[str]] = {}
    for id_ in waiting:
        if (lot := known[id_].lot) is not None:
            lots.setdefault(lot, []).append(id_)
    return max(lots.values(), key=len) if lots else waiting
