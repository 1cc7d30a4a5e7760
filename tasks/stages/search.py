"""Searching the training corpus for a batch's identifiers, shard by shard: each leaves a record of its own.

The text that passes by is also where identifiers of other people are sampled: what must keep working.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

from infra.corpus import Corpus, Pseudonym, Shard, ShardSurvey, Survey, manifest_of
from infra.detection import DEFAULT_TYPES, Detector
from infra.keys.vault import Vault
from infra.search import Search
from infra.search.locate import Occurrence, detected, rows_hit
from infra.search.refusals import too_common, unsearchable
from infra.settings import Settings
from revs.errors import BadInput
from tasks.batch.stage import Handles, handles, stage

# Of the corpus, about: in so much of it identifiers of other people are looked for. Fewer found are fewer protected:
# with two thirds of a corpus of 200 MB specificity was 67 instead of 87.
SAMPLED_BYTES = 256 << 20
OTHERS = 600  # of these that are kept
SEED = 0


@dataclass(frozen=True, slots=True)
class Sought:
    """What a batch seeks: its identifiers (None where none can be sought), and others' of the same types."""

    search: Search | None
    detector: Detector


def pseudonyms(settings: Settings) -> Pseudonym:
    """What stands for the names and digests of corpora in every record of this installation."""
    return partial(Vault.from_settings(settings).pseudonym, kind="corpus")


def corpus_of(h: Handles) -> Corpus:
    """The batch's corpus; what its survey said is not read again as long as the files are the same."""
    return _opened(h, survey=h.workspace.read("survey"))


def _opened(h: Handles, **options: Any) -> Corpus:
    """The batch's corpus. Its address is in no message: what a task raises is recorded."""
    address = h.store.address(h.batch.corpus)
    try:
        return Corpus.open(address, **options)
    except BadInput:
        raise BadInput(
            f"the corpus of batch {h.batch.id} cannot be read any more, or the address on record is wrong: "
            "'revs scan' of it says why; put it right, or name it with --corpus"
        ) from None


def keyed_digest(h: Handles, corpus: Corpus) -> str:
    """The corpus' digest as the batch's records have it."""
    return corpus.keyed_digest(pseudonyms(h.settings))


@stage("search shard")
def search_shard(batch_id: str, shard: Shard) -> int:
    """Search one shard for every identifier of the batch and record where they stand; how many occurrences."""
    h = handles(batch_id, worker=True)
    if (record := _record(h, shard)) is None:
        record = h.workspace.write(_name(shard), _searched(_known(batch_id), _opened(h), shard))
    return len(record["occurrences"])


def waiting_shards(batch_id: str) -> list[Shard]:
    """The shards of the batch's corpus without a record; none once they were put together."""
    h = handles(batch_id)
    if h.workspace.read("occurrences") is not None:
        return []
    return [shard for shard in _opened(h).shards if _record(h, shard) is None]


def search(h: Handles, corpus: Corpus) -> dict[str, Any]:
    """Where the batch's identifiers stand; which of them stand nowhere, and which cannot be sought, one by one.

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
    occurrences = [found for found in occurrences if (found.request_id, found.identifier) not in refused]
    present = {(found.request_id, found.identifier) for found in occurrences}
    each = [(request_id, number) for request_id, some in identifiers.items() for number in range(len(some))]
    return {
        "corpus": manifest_of(survey, pseudonyms(h.settings)),
        "occurrences": [asdict(occurrence) for occurrence in occurrences],
        "others": [asdict(other) for other in _others(survey, records, {found.row for found in occurrences})],
        "missing": [_named(one) for one in each if one not in present and one not in refused],
        "refused": [{**_named(one), "reason": reason} for one, reason in refused.items()],
    }


def _named(identifier: tuple[str, int]) -> dict[str, Any]:
    """An identifier as a record names it: its request, and its number there, from 0."""
    return {"request_id": identifier[0], "identifier": identifier[1]}


def _others(survey: Survey, records: Sequence[dict[str, Any]], taken: AbstractSet[int]) -> list[Occurrence]:
    """Of the sampled identifiers outside the rows that are `taken`, `OTHERS` drawn, by row and place."""
    found = [
        replace(other, row=first + other.row)
        for first, record in zip(survey.first_rows, records, strict=True)
        for other in (Occurrence(**each) for each in record["others"])
        if first + other.row not in taken
    ]
    return sorted(random.Random(SEED).sample(found, min(OTHERS, len(found))), key=lambda o: (o.row, o.start, o.end))


def _records(h: Handles, corpus: Corpus) -> list[dict[str, Any]]:
    """Of every shard, its survey, and occurrences with rows counted from the shard's beginning."""
    records = {shard.number: _record(h, shard) for shard in corpus.shards}
    missing = [shard for shard in corpus.shards if records[shard.number] is None]
    sought = _sought(h) if missing else None
    for shard in missing:
        assert sought is not None
        records[shard.number] = h.workspace.write(_name(shard), _searched(sought, corpus, shard))
    return [record for record in records.values() if record is not None]


def _record(h: Handles, shard: Shard) -> dict[str, Any] | None:
    """What an earlier run found in the shard; None if it found nothing out, or the file changed since."""
    record = h.workspace.read(_name(shard))
    return record if record is not None and record["survey"]["shard"] == asdict(shard) else None


def _name(shard: Shard) -> str:
    return f"shard-{shard.number:06d}"


def _searched(sought: Sought, corpus: Corpus, shard: Shard) -> dict[str, Any]:
    reader = corpus.read(shard)
    share = SAMPLED_BYTES / max(sum(file.bytes for file in corpus.plan.files), 1)
    drawn = random.Random(f"{SEED} {shard.file} {shard.begin}")
    found: list[Occurrence] = []
    others: list[Occurrence] = []
    for batch in reader:
        if sought.search is not None:
            places = sought.search.in_array(batch.array)
            found += (Occurrence(row=batch.first + row, **asdict(each)) for row, each in places)
        sample = (numbered for numbered in batch if drawn.random() < share)
        others += (each for row, text in sample for each in detected(row, text, sought.detector))
    return {
        "survey": reader.survey.to_dict(),
        "occurrences": [asdict(each) for each in found],
        "others": [asdict(each) for each in drawn.sample(others, min(OTHERS, len(others)))],
    }


@lru_cache(maxsize=1)
def _known(batch_id: str) -> Sought:
    """What a batch seeks, built once in a worker that searches many shards for it."""
    return _sought(handles(batch_id, worker=True))


def _sought(h: Handles) -> Sought:
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers)
    wanted = [each for id_, some in identifiers.items() for n, each in enumerate(some) if (id_, n) not in refused]
    # Others' identifiers of the same types: these stand in the contexts that the edit could harm.
    types = {identifier.type for identifier in wanted}.intersection(DEFAULT_TYPES)
    search = Search(identifiers, leave_out=refused) if wanted else None
    return Sought(search, Detector(sorted(types) or DEFAULT_TYPES))
