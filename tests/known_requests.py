"""What a model of the life cycle knows of one request; no tests here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

BOTH = ("US_SSN", "EMAIL_ADDRESS")


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
    nothing_left: bool = False  # a batch has found nothing of what it asks for now
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
