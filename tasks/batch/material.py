"""What the edit and the measurements of a batch work on, rebuilt from the corpus and the recorded places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from revs.errors import OperationFailed
from tasks.batch.models import on_record
from tasks.batch.plan import secret_of
from tasks.batch.stage import Handles
from tasks.batch.targets import targets_of
from tasks.stages.search import corpus_of, keyed_digest

if TYPE_CHECKING:
    from revs.targets.target import Target


@dataclass(frozen=True, slots=True)
class Material:
    """Targets and texts of a probed batch; memory only."""

    edit: list[Target]
    edit_ids: list[str]
    unseen: list[Target]
    unmemorised: list[Target]
    without_corpus: list[Target]
    """The batch's identifiers under the usual openings of their types."""
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
    held_out = on_record(h, "held_out")

    def those(rows: Sequence[dict[str, Any]], key: str, value: str) -> list[Target]:
        return targets_of(corpus, [row for row in rows if row[key] == value])

    return Material(
        edit=those(record["targets"], "use", "edit"),
        edit_ids=[row["id"] for row in record["targets"] if row["use"] == "edit"],
        unseen=those(record["targets"], "use", "unseen"),
        unmemorised=those(record["targets"], "use", "none"),
        without_corpus=_without_corpus(h),
        protect=those(record["others"], "part", "protect"),
        measure=those(record["others"], "part", "measure"),
        ordinary=_rows(corpus, record["ordinary_rows"]),
        held_out=[text for _, text in Corpus.open(held_out)] if held_out else _rows(corpus, record["held_out_rows"]),
        corpus=corpus,
    )


def _without_corpus(h: Handles) -> list[Target]:
    from revs.discover.prompts import prompted

    refused = {secret_of(entry) for entry in h.workspace.require("occurrences")["refused"]}
    return prompted(
        (identifier.type, identifier.value)
        for request_id, identifiers in h.store.identifiers(h.batch.id).items()
        for number, identifier in enumerate(identifiers)
        if (request_id, number) not in refused
    )


def _rows(corpus: Corpus, rows: Sequence[int]) -> list[str]:
    texts = corpus.texts(rows)
    return [texts[row] for row in rows]
