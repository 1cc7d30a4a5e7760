"""Known IP addresses of version 6 in a batch of rows: whatever stands there is read as an address and looked up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infra.addresses import PROBE, Address, address_of, ipv6_in, suffix_end
from infra.normalise import fold
from infra.search.batch import Batch, Place

if TYPE_CHECKING:
    from infra.requests import Identifier

_PROBE = re.compile(PROBE.encode())


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
        for hit in _PROBE.finditer(batch.words):
            if hit.start() < done:
                continue
            text, first, _ = batch.around(hit.start(), hit.end())
            for start, end, address in ipv6_in(text):
                if start <= first < end:
                    done = hit.start() + end - first
                    yield from self._places(batch, hit.start() + start - first, text, end, address, done)

    def _places(
        self, batch: Batch, start: int, text: str, end: int, address: Address, last: int
    ) -> Iterator[tuple[Place, int]]:
        owners = self._owners.get(address, ())
        origin = batch.origin(start, last + suffix_end(text, end) - end) if owners else None
        if origin is not None:
            for owner in owners:
                yield origin[0], owner
