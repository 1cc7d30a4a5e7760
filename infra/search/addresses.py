"""Known IP addresses of version 6 in a batch of rows: whatever stands there is read as an address and looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from infra.identifiers.boundaries import LABELS
from infra.identifiers.ip import Address, address_of, ipv6_in, suffix_end
from infra.identifiers.normalise import fold
from infra.search.batch import Batch, Place

if TYPE_CHECKING:
    from infra.requests import Identifier

_GROUP = 5
"""Most characters of a group with its colon."""
_ENDS = "".join(label[-1] for label in LABELS["IP_ADDRESS"])
_IN_WORD = re.compile(rf"(?![{_ENDS}])[g-z_][0-9a-f]{{0,4}}\Z".encode())
"""In front of a colon: the end of a word and of no label, after which no address can go on."""


def _colons(words: bytes) -> list[int]:
    """The colons at which an address may be recognised: two side by side, or six close together.

    Six are in front of an address of version 4 at the end of one of version 6.
    """
    places = np.flatnonzero(np.frombuffer(words, np.uint8) == ord(":"))
    double = places[:-1][np.diff(places) == 1]
    six = places[:-5][places[5:] - places[:-5] <= 5 * _GROUP]
    return sorted({*double.tolist(), *six.tolist()})


class Addresses:
    """Finds addresses; also those of version 4 where they are written as ones of version 6."""

    def __init__(self) -> None:
        self._owners: dict[Address, list[int]] = {}

    def add(self, owner: int, identifier: Identifier) -> None:
        """Seek this identifier, too, if it is an address; what is found of it is given with `owner`."""
        address = address_of(fold(identifier.value).text) if identifier.type == "IP_ADDRESS" else None
        if address is not None:
            self._owners.setdefault(address, []).append(owner)

    def find(self, batch: Batch) -> Iterator[tuple[Place, int]]:
        """Every place where one stands, with its owner."""
        if not self._owners:
            return
        done = 0
        for at in _colons(batch.words):
            if at < done or _IN_WORD.search(batch.words, max(at - _GROUP, 0), at):
                continue
            text, first, _ = batch.around(at, at + 1)
            for start, end, address in ipv6_in(text):
                if start <= first < end:
                    done = at + end - first
                    yield from self._places(batch, at + start - first, text, end, address, done)

    def _places(
        self, batch: Batch, start: int, text: str, end: int, address: Address, last: int
    ) -> Iterator[tuple[Place, int]]:
        owners = self._owners.get(address, ())
        origin = batch.origin(start, last + suffix_end(text, end) - end) if owners else None
        if origin is not None:
            for owner in owners:
                yield origin[0], owner
