"""What the edit and the measurements of a batch work on, rebuilt from the corpus and the recorded places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.corpora import address_of
from infra.corpus import Corpus
from revs.errors import OperationFailed
from tasks.places import targets_of
from tasks.search import corpus_of, keyed_digest
from tasks.stage import Handles

if TYPE_CHECKING:
    from revs.targets import Target


@dataclass(frozen=True, slots=True)
class Material:
    """Targets and texts of a probed batch; memory only."""

    edit: list[Target]
    edit_ids: list[str]
    unseen: list[Target]
    unmemorised: list[Target]
    protect: list[Target]
    measure: list[Target]
    ordinary: list[str]
    held_out: list[str]
    corpus: Corpus

    def __repr__(self) -> str:
        return f"Material({len(self.edit)} to edit)"


def material(h: Handles) -> Material:
    """Rebuild targets and texts of a probed batch."""
    record, corpus = h.workspace.require("targets"), corpus_of(h)
    if keyed_digest(h, corpus) != h.workspace.require("occurrences")["corpus"]["digest"]:
        raise OperationFailed(
            f"the corpus changed while batch {h.batch.id} was under way, so the recorded places no "
            "longer hold; nothing was promoted: start the flow again, it looks anew"
        )
    held_out = h.registry.resolve(h.batch.source).tags.get("revs.held_out")

    def those(rows: Sequence[dict[str, Any]], key: str, value: str) -> list[Target]:
        return targets_of(corpus, [row for row in rows if row[key] == value])

    return Material(
        edit=those(record["targets"], "use", "edit"),
        edit_ids=[row["id"] for row in record["targets"] if row["use"] == "edit"],
        unseen=those(record["targets"], "use", "unseen"),
        unmemorised=those(record["targets"], "use", "none"),
        protect=those(record["others"], "part", "protect"),
        measure=those(record["others"], "part", "measure"),
        ordinary=_rows(corpus, record["ordinary_rows"]),
        held_out=_texts(h, held_out) if held_out else _rows(corpus, record["held_out_rows"]),
        corpus=corpus,
    )


def _texts(h: Handles, recorded: str) -> list[str]:
    return [text for _, text in Corpus.open(address_of(h.settings, recorded))]


def _rows(corpus: Corpus, rows: Sequence[int]) -> list[str]:
    texts = corpus.texts(rows)
    return [texts[row] for row in rows]
