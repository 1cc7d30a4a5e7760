"""Stage 2: where the identifiers stand in the training corpus, shard by shard: each leaves a record of its own.

The text that passes by is also where identifiers of other people are sampled: what must keep working.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache

from infra.batches.records import (
    CorpusRead,
    Named,
    Occurrences,
    Refused,
    RegisteredVersion,
    SearchedShard,
    SurveyedCorpus,
)
from infra.corpus import Corpus, Shard, StandIns, Survey, Unread
from infra.detection import DEFAULT_TYPES, Detector, DetectorConfig
from infra.search import Search
from infra.search.occurrences import Occurrence, detected, rows_hit
from infra.search.refusals import too_common, unsearchable
from revs.errors import BadInput
from tasks.batch.corpus import corpus_of, keyed_digest, planned_corpus, pseudonyms
from tasks.batch.stage import SEED, Handles, handles, keyed, stage

# Of the corpus, about: in so much of it identifiers of other people are looked for. Fewer found are fewer protected:
# with two thirds of a corpus of 200 MB specificity was 67 instead of 87.
SAMPLED_BYTES = 256 << 20
OTHERS = 600  # of these that are kept


@stage("search shard")
def search_shard(batch_id: str, shard: Shard) -> int:
    """Search one shard for every identifier of the batch and record where they stand; how many occurrences."""
    h = handles(batch_id, worker=True)
    known = _record(h, shard)
    record = known or h.workspace.write(_searched(_known(batch_id), planned_corpus(h), shard), shard.number)
    return len(record.occurrences)


def waiting_shards(batch_id: str) -> list[Shard]:
    """The shards of the batch's corpus without a record; none once they were put together."""
    h = handles(batch_id)
    if h.workspace.read(Occurrences) is not None:
        return []
    return [shard for shard in planned_corpus(h).shards if _record(h, shard) is None]


@stage("locate occurrences")
def locate_occurrences(batch_id: str) -> str:
    """Find every occurrence of every identifier; what stands nowhere, or cannot be sought, is recorded one by one.

    Raises:
        BadInput: no request of the batch is left: each was rejected.
    """
    h = handles(batch_id)
    if not h.store.identifiers(batch_id):
        _end_without_work(h)
    corpus = corpus_of(h)
    record = h.workspace.read(Occurrences)
    if (
        record is not None
        and record.corpus.digest != keyed_digest(h, corpus)
        and not h.workspace.read(RegisteredVersion)
    ):
        h.discard()  # the corpus changed since the batch was cut off: what was found in it no longer holds
        record = None
    record = record or h.workspace.write(search(h, corpus))
    found, missing, left_out = record.occurrences, record.missing, record.corpus.left_out
    sought = len({(each.request_id, each.identifier) for each in found})
    refused = f", {len(record.refused)} that cannot be sought" if record.refused else ""
    unread = f"; {left_out} of the corpus could not be read" if left_out else ""
    return f"{len(found)} occurrences of {sought} identifiers, {len(missing)} identifiers without any{refused}{unread}"


def _end_without_work(h: Handles) -> None:
    """Every request of the batch was rejected: close it, so that the next one can open, and say so."""
    h.store.close_batch(h.batch.id, status="failed", outcome={"reason": "every request was rejected"})
    h.discard()
    h.lease.release()
    raise BadInput(
        f"every request of batch {h.batch.id} was rejected: 'revs requests list --status rejected' shows the reasons"
    )


def search(h: Handles, corpus: Corpus) -> Occurrences:
    """Where the batch's identifiers stand; which of them stand nowhere, and which cannot be sought, one by one.

    Shards that have no record yet are searched here, one after the other.
    """
    records = _records(h, corpus)
    survey = corpus.assemble(record.survey for record in records)
    digests = {file.file: file.sha256 for file in survey.files if file.sha256}
    h.workspace.write(SurveyedCorpus(shards=survey.shards, sha256=digests))
    occurrences = _in_corpus(survey, [record.occurrences for record in records])
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers) | too_common(rows_hit(occurrences), survey.rows)
    occurrences = [found for found in occurrences if (found.request_id, found.identifier) not in refused]
    present = {(found.request_id, found.identifier) for found in occurrences}
    missing = [key for key, _ in keyed(identifiers) if key not in present and key not in refused]
    others = _in_corpus(survey, [record.others for record in records])
    return Occurrences(
        corpus=_read(h, survey),
        occurrences=tuple(occurrences),
        others=_drawn(others, {found.row for found in occurrences}),
        missing=tuple(Named(request_id=request_id, identifier=number) for request_id, number in missing),
        refused=tuple(
            Refused(request_id=request_id, identifier=number, reason=reason)
            for (request_id, number), reason in refused.items()
        ),
    )


def _read(h: Handles, survey: Survey) -> CorpusRead:
    names = StandIns(survey, pseudonyms(h.settings))
    return CorpusRead(
        name=names.corpus,
        digest=str(names.digest(survey.digest)),
        rows=survey.rows,
        ignored=tuple(names.file(file) for file in survey.ignored),
        unread=tuple(Unread(**names.unread(entry)) for entry in survey.unread),
    )


def _in_corpus(survey: Survey, found: Sequence[Sequence[Occurrence]]) -> list[Occurrence]:
    """What was found in each shard, with rows counted from the beginning of the corpus."""
    return [
        replace(one, row=first + one.row) for first, some in zip(survey.first_rows, found, strict=True) for one in some
    ]


def _drawn(others: Sequence[Occurrence], taken: AbstractSet[int]) -> tuple[Occurrence, ...]:
    """Of the sampled identifiers outside the rows that are `taken`, `OTHERS` drawn, by row and place."""
    found = [other for other in others if other.row not in taken]
    drawn = random.Random(SEED).sample(found, min(OTHERS, len(found)))
    return tuple(sorted(drawn, key=lambda o: (o.row, o.start, o.end)))


def _records(h: Handles, corpus: Corpus) -> list[SearchedShard]:
    """Of every shard, its survey, and occurrences with rows counted from the shard's beginning."""
    sought = cache(lambda: _sought(h))  # where no shard is left, nothing has to be built
    return [
        _record(h, shard) or h.workspace.write(_searched(sought(), corpus, shard), shard.number)
        for shard in corpus.shards
    ]


def _record(h: Handles, shard: Shard) -> SearchedShard | None:
    """What an earlier run found in the shard; None if it found nothing out, or the file changed since."""
    record = h.workspace.read(SearchedShard, shard.number)
    return record if record is not None and record.survey.shard == shard else None


@dataclass(frozen=True, slots=True)
class Sought:
    """What a batch seeks: its identifiers (None where none can be sought), and others' of the same types."""

    search: Search | None
    detector: Detector


def _searched(sought: Sought, corpus: Corpus, shard: Shard) -> SearchedShard:
    reader = corpus.read(shard)
    share = SAMPLED_BYTES / max(sum(file.bytes for file in corpus.plan.files), 1)
    drawn = random.Random(f"{SEED} {shard.file} {shard.begin}".encode("utf-8", "surrogateescape"))
    found: list[Occurrence] = []
    others: list[Occurrence] = []
    for batch in reader:
        if sought.search is not None:
            places = sought.search.in_array(batch.array)
            found += (Occurrence(row=batch.first + row, **asdict(each)) for row, each in places)
        sample = (numbered for numbered in batch if drawn.random() < share)
        others += (each for row, text in sample for each in detected(row, text, sought.detector))
    return SearchedShard(
        survey=reader.survey, occurrences=tuple(found), others=tuple(drawn.sample(others, min(OTHERS, len(others))))
    )


@lru_cache(maxsize=1)
def _known(batch_id: str) -> Sought:
    """What a batch seeks, built once in a worker that searches many shards for it."""
    return _sought(handles(batch_id, worker=True))


def _sought(h: Handles) -> Sought:
    identifiers = h.store.identifiers(h.batch.id)
    refused = unsearchable(identifiers)
    wanted = [identifier for key, identifier in keyed(identifiers) if key not in refused]
    # Others' identifiers of the same types: these stand in the contexts that the edit could harm.
    types = {identifier.type for identifier in wanted}.intersection(DEFAULT_TYPES)
    search = Search(identifiers, leave_out=refused) if wanted else None
    return Sought(search, Detector(DetectorConfig(types=tuple(sorted(types)) or DEFAULT_TYPES)))
