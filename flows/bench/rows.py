"""Rows of the comparison: one JSON file each, named by what decides its figures, so that a second run skips it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What decides the figures of a row.

    Attributes:
        architecture, seed: of the development model; model, control: digests of it and of the never-trained one.
        method: key of `revs.METHODS`, or "unedited" or "never trained"; config: its setting, by name.
        metrics: "all", or "standard" for those that `revs.evaluate` measures without being asked for more.
        versions: of the libraries. A change of this project's own code without a new version is not seen: measure
            into another folder then.
    """

    architecture: str
    seed: int
    method: str
    config: Mapping[str, Any]
    model: str
    control: str
    metrics: str
    versions: Mapping[str, str]

    @property
    def key(self) -> str:
        """32 hex digits."""
        material = json.dumps(asdict(self), sort_keys=True, default=list)
        return hashlib.sha256(material.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one model.

    Attributes:
        scores: by name, as in `revs.Scores`, and `decoy_…`, `specificity_not_given`, `perplexity_ratio`, `seconds`.
        gaps: why a score is missing, by name.
        median_rank_by_layer: of the target tokens.
        efficacy_at_k: pairs of k and the efficacy at this k.
    """

    identity: Identity
    scores: Mapping[str, float]
    gaps: Mapping[str, str] = field(default_factory=dict)
    median_rank_by_layer: tuple[float, ...] = ()
    efficacy_at_k: tuple[tuple[int, float], ...] = ()

    @property
    def method(self) -> str:
        return self.identity.method

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the identity's fields and the row's side by side."""
        own = asdict(self)
        return {**own.pop("identity"), **own}


def row_of(found: Mapping[str, Any]) -> Row:
    """The row that `Row.to_dict` wrote.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Row(
        identity=Identity(**{part.name: found[part.name] for part in fields(Identity)}),
        scores=found["scores"],
        gaps=found["gaps"],
        median_rank_by_layer=tuple(found["median_rank_by_layer"]),
        efficacy_at_k=tuple((int(k), float(value)) for k, value in found["efficacy_at_k"]),
    )


def by_method(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each method, in the order in which methods come first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.method, []).append(row)
    return found


def read_row(folder: Path, identity: Identity) -> Row | None:
    """The row of this identity, or None where there is none, or only half of one."""
    try:
        found = json.loads((folder / f"{identity.key}.json").read_text(encoding="utf-8"))
        return replace(row_of(found), identity=identity)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_row(folder: Path, row: Row) -> None:
    """Write the row in one step: a killed run leaves the old file or none."""
    write_text(folder / f"{row.identity.key}.json", json.dumps(row.to_dict(), indent=1, allow_nan=False, default=list))


def write_text(path: Path, text: str) -> None:
    """The same for any text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
