"""What the edit and the measurements of a batch work on, rebuilt from the corpus and the recorded places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.batches.records import Occurrences, OtherContext, PlannedContext, Targets
from infra.corpus import Corpus
from revs.errors import OperationFailed
from tasks.batch.contexts import targets_of
from tasks.batch.corpus import corpus_of, held_out_text, keyed_digest
from tasks.batch.stage import Handles, keyed

if TYPE_CHECKING:
    from torch import Tensor

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
    """Other people's records that the edit is given to keep."""
    given: list[Target]
    """Those of them that the champion generates."""
    measure: list[Target]
    """Such that it is not given."""
    ordinary: list[str]
    held_out: list[str]
    corpus: Corpus

    def __repr__(self) -> str:
        return f"Material({len(self.edit)} to edit)"


def material(h: Handles) -> Material:
    """Rebuild targets and texts of a probed batch."""
    record, corpus = h.workspace.require(Targets), corpus_of(h)
    if keyed_digest(h, corpus) != h.workspace.require(Occurrences).corpus.digest:
        raise OperationFailed(
            f"the corpus changed while batch {h.batch.id} was under way, so the recorded places no "
            "longer hold; nothing was promoted: start the flow again, it looks anew"
        )
    held_out = held_out_text(h)

    def those(planned: Sequence[PlannedContext | OtherContext]) -> list[Target]:
        return targets_of(corpus, [each.context for each in planned])

    return Material(
        edit=those(record.of_use("edit")),
        edit_ids=[target.id for target in record.of_use("edit")],
        unseen=those(record.of_use("unseen")),
        unmemorised=those(record.of_use("none")),
        without_corpus=_without_corpus(h),
        protect=those([other for other in record.others if other.part == "protect"]),
        given=those([other for other in record.others if other.part == "protect" and other.memorised]),
        measure=those([other for other in record.others if other.part == "measure"]),
        ordinary=_rows(corpus, record.ordinary_rows),
        held_out=[text for _, text in held_out] if held_out is not None else _rows(corpus, record.held_out_rows),
        corpus=corpus,
    )


def _without_corpus(h: Handles) -> list[Target]:
    from revs.discover.prompts import prompted

    refused = h.workspace.require(Occurrences).why_refused
    identifiers = keyed(h.store.identifiers(h.batch.id))
    return prompted((identifier.type, identifier.value) for key, identifier in identifiers if key not in refused)


def _rows(corpus: Corpus, rows: Sequence[int]) -> list[str]:
    texts = corpus.texts(rows)
    return [texts[row] for row in rows]


def token_counts_file(h: Handles) -> Path:
    """Where `choose_target_tokens` keeps its order of rarity."""
    return h.workspace.folder / "token_counts.safetensors"


def token_counts(h: Handles) -> Tensor:
    """The order of rarity that `choose_target_tokens` recorded, shape (V,): the smaller, the rarer."""
    from safetensors.torch import load_file

    return load_file(token_counts_file(h))["counts"]
