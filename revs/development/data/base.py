"""What every data set of this package is: rows, a card that says what they are, and a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from revs.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

# Of rows with an identifier: `text[start:end]` is it.
COLUMNS = ("text", "start", "end", "type", "person", "domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a reader must know of a data set before using it.

    Attributes:
        name: key of `revs.development.data.DATASETS`.
        what: one sentence.
        source: where the rows come from: a file of this project, a hub id, installed packages, a path.
        licence: of the rows.
        size: number of rows.
        columns: their names, in order.
        invented: how the people and identifiers were invented; "not invented" where they were not.
        seed: what the rows were drawn with; None where nothing was drawn.
        fallback: these are not the rows that were asked for, but what stands in for them; `what` says why.
    """

    name: str
    what: str
    source: str
    licence: str
    size: int
    columns: tuple[str, ...]
    invented: str
    seed: int | None = None
    fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Rows and their card. The rows do not show in the repr: they may hold personal data."""

    card: Card
    rows: tuple[Mapping[str, Any], ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.rows:
            raise BadInput(f"data set {self.card.name} has no rows; ask for at least one, or give a file that has some")

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the rows as JSON lines, keys sorted, without spaces, in UTF-8."""
        digest = hashlib.sha256()
        for row in self.rows:
            line = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return f"sha256:{digest.hexdigest()}"

    def dataset(self) -> Dataset:
        """The rows as a `datasets.Dataset`, in memory: nothing is written to the cache folder of `datasets`."""
        from datasets import Dataset

        return Dataset.from_list([dict(row) for row in self.rows])
