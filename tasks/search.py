"""Searching the training corpus for a batch's identifiers, shard by shard: each leaves a record of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from infra.corpus import Corpus, Shard, ShardReader
from infra.corpus import ShardSurvey
from infra.location import Occurrence, rows_hit
from infra.search import Search
from infra.search.refusals import too_common, unsearchable
from tasks.stage import Handles, handles, stage


@stage("search shard")
def search_shard(batch_id: str, shard: Shard) -> int:
    """Search one shard for every identifier of the batch and record where they stand; how many occurrences."""
    h = handles(batch_id)
    if (record := _record(h, shard)) is None:
        record = h.workspace.write(_name(shard), _searched(_known(batch_id), Corpus.open(h.batch.corpus), shard))
    return len(record["occurrences"])


def waiting_shards(batch_id: str) -> list[Shard]:
    """The shards of the batch's corpus without a record; none once they were put together."""
    h = handles(batch_id)
    if h.workspace.read("occurrences") is not None:
        return []
    return [shard for shard in Corpus.open(h.batch.corpus).shards if _record(h, shard) is None]


def search(h: Handles, corpus: Corpus) -> dict[str, Any]:
    """Where the batch's identifiers stand, which requests have none there, and which cannot be sought.

    Shards that have no record yet are searched here, one after the other.
    """
    records = _records(h, corpus)
    survey = corpus.assemble(ShardSurvey.from_dict(record["survey"]) for record in records)
    h.workspace.write("survey", survey.to_dict())
    occurrences = [
        replace(occurrence, row=first + occurrence.row)
        for first, record in zip(survey.first_rows, records, strict=True)
        for occurrence in (Occurrence(**found) for found in record["occurrences"])
    ]
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers) | too_common(rows_hit(occurrences), survey.rows)
    occurrences = [occurrence for occurrence in occurrences if occurrence.request_id not in refused]
    present = {occurrence.request_id for occurrence in occurrences}
    return {
        "corpus": survey.manifest(),
        "occurrences": [asdict(occurrence) for occurrence in occurrences],
        "missing": [request_id for request_id in identifiers if request_id not in present | refused.keys()],
        "unsearchable": refused,
    }


def _records(h: Handles, corpus: Corpus) -> list[dict[str, Any]]:
    """Of every shard, its survey, and occurrences with rows counted from the shard's beginning."""
    records = {shard.number: _record(h, shard) for shard in corpus.shards}
    missing = [shard for shard in corpus.shards if records[shard.number] is None]
    known = _search_for(h) if missing else None
    for shard in missing:
        records[shard.number] = h.workspace.write(_name(shard), _searched(known, corpus, shard))
    return [record for record in records.values() if record is not None]


def _record(h: Handles, shard: Shard) -> dict[str, Any] | None:
    """What an earlier run found in the shard; None if it found nothing out, or the file changed since."""
    record = h.workspace.read(_name(shard))
    return record if record is not None and record["survey"]["shard"] == asdict(shard) else None


def _name(shard: Shard) -> str:
    return f"shard-{shard.number:06d}"


def _searched(known: Search | None, corpus: Corpus, shard: Shard) -> dict[str, Any]:
    reader = corpus.read(shard)
    found = [asdict(occurrence) for occurrence in _occurrences(known, reader)]
    return {"survey": asdict(reader.survey), "occurrences": found}


def _occurrences(known: Search | None, reader: ShardReader) -> Iterator[Occurrence]:
    for batch in reader:
        for number, found in known.in_texts([text or "" for text in batch.texts()]) if known else ():
            yield Occurrence(row=batch.first + number, **asdict(found))


@lru_cache(maxsize=1)
def _known(batch_id: str) -> Search | None:
    """What a batch seeks, built once in a worker that searches many shards for it."""
    return _search_for(handles(batch_id))


def _search_for(h: Handles) -> Search | None:
    """None where no identifier of the batch can be sought."""
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers)
    sought = {request_id: wanted for request_id, wanted in identifiers.items() if request_id not in refused}
    return Search(sought) if any(sought.values()) else None
