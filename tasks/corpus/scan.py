"""Scanning a corpus for personal data that nobody named, shard by shard: each leaves a record of its own.

A scan has a folder; what all shards share stands in its `job`. A scan that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from infra.batches.record import Escaped, Record, SurveyOfShard
from infra.batches.workspace import Workspace
from infra.corpus import Corpus, Shard, ShardReader, Survey
from infra.detection import Detector
from infra.detection.tally import ScanTally
from infra.requests import Identifier
from infra.settings import Settings, load_settings
from revs.discover.sample import Sample
from revs.errors import BadInput, OperationFailed
from tasks.batch.stage import open_store, stage
from tasks.corpus.returned import SHAPELESS, Returned, Watch


class ScanJob(Record):
    """What all shards of a scan share."""

    name: ClassVar[str] = "job"

    source: Escaped[str]
    recognisers: Escaped[str | None]
    recognisers_sha256: str | None
    seed: int
    erased: bool = False
    """Whether what stands there is compared with the digests of what was erased."""


class ScannedShard(Record):
    """What stands in one shard: counts and masked samples (`ScanTally`)."""

    name: ClassVar[str] = "shard-{:06d}"

    survey: SurveyOfShard
    tally: Escaped[dict[str, Any]]
    erased: dict[str, Any] | None = None
    """What of the erased stands there (`Watch.to_dict`), where that was asked."""


def open_scan(settings: Settings, corpus: Corpus, *, recognisers: Path | None, seed: int, erased: bool = False) -> Path:
    """The folder of a scan: that of an earlier one of the same corpus with the same settings, if it was cut off.

    Raises:
        BadInput: the recogniser file cannot be used.
    """
    _detector(str(recognisers) if recognisers else None)
    job = ScanJob(
        source=corpus.plan.source,
        recognisers=str(recognisers.absolute()) if recognisers else None,
        recognisers_sha256=hashlib.sha256(recognisers.read_bytes()).hexdigest() if recognisers else None,
        seed=seed,
        erased=erased,
    )
    scan = _scan_in(settings.home / "scans" / hashlib.sha256(job.model_dump_json().encode()).hexdigest()[:32])
    scan.once(ScanJob, lambda: job)
    return scan.folder


@stage("scan shard")
def scan_shard(folder: str, shard: Shard) -> int:
    """Find the personal data in one shard, and record counts, masked samples and places; how many findings."""
    scan = _scan_in(folder)
    record = _record(scan, shard) or _scanned(scan, shard)
    return sum(count for *_, count in record.tally["counts"])


def waiting_shards(folder: str, corpus: Corpus) -> list[Shard]:
    """The shards without a record."""
    scan = _scan_in(folder)
    return [shard for shard in corpus.shards if _record(scan, shard) is None]


def put_together(folder: str, corpus: Corpus) -> tuple[Survey, ScanTally, Returned | None]:
    """The survey and the counts of the whole corpus, and what of the erased stands in it, where that is asked.

    What has no record yet is scanned here.
    """
    scan = _scan_in(folder)
    records = [_record(scan, shard) or _scanned(scan, shard) for shard in corpus.shards]
    survey = corpus.assemble(record.survey for record in records)
    tally = ScanTally(seed=scan.require(ScanJob).seed)
    for first, record in zip(survey.first_rows_in_file, records, strict=True):
        tally.merge(ScanTally.from_dict(record.tally), first)
    for unread in survey.unread:
        tally.leave(unread.file, unread.reason, rows=unread.rows or 0, partly=unread.partly)
    watch = _watch(scan.require(ScanJob))
    for record in records:
        if watch is not None and record.erased is not None:
            watch.merge(record.erased)
    return survey, tally, watch.result() if watch is not None and survey.rows else None


def findings_of(folder: str, survey: Survey) -> Iterator[dict[str, Any]]:
    """Every finding by place, without its text: file, row (from 0), start, end, type and score.

    Where the erased were looked for, also whether it is one; of a name that was found by its words alone, the place is
    the whole row, and there is no score.
    """
    scan = _scan_in(folder)
    for first, shard in zip(survey.first_rows_in_file, survey.shards, strict=True):
        with _places(scan, shard.shard).open(encoding="utf-8") as lines:
            for line in lines:
                row, start, end, type_, score, *erased = json.loads(line)
                yield {
                    "file": shard.shard.file,
                    "row": first + row,
                    "start": start,
                    "end": end,
                    "type": type_,
                    "score": score,
                    **({"erased": erased[0]} if erased else {}),
                }


def detector_settings(recognisers: Path | None) -> dict[str, Any]:
    """What a report may say of the detector: no listed value."""
    return _detector(str(recognisers) if recognisers else None).config.settings()


def _scan_in(folder: str | Path) -> Workspace:
    path = Path(folder)
    return Workspace(path.parent, path.name, remedy=f"delete {path} and scan again")


def _record(scan: Workspace, shard: Shard) -> ScannedShard | None:
    """What an earlier run found in the shard; None if there was none, or the file changed since."""
    record = scan.read(ScannedShard, shard.number)
    return record if record is not None and record.survey.shard == shard else None


def _places(scan: Workspace, shard: Shard) -> Path:
    return scan.folder / f"{ScannedShard.file_name(shard.number)}.jsonl"


def _scanned(scan: Workspace, shard: Shard) -> ScannedShard:
    """Scan a shard. Its places are in their file before the record says that it was done."""
    job = scan.require(ScanJob)
    reader = _opened(job.source).read(shard)
    tally = ScanTally(seed=job.seed)
    scratch = _places(scan, shard).with_suffix(f".{os.getpid()}.tmp")
    with scratch.open("w", encoding="utf-8") as places:
        watch = _watch(job)
        for place in _found(_detector(job.recognisers), reader, tally, watch):
            places.write(json.dumps(place) + "\n")
    scratch.replace(_places(scan, shard))
    erased = watch.to_dict() if watch is not None else None
    return scan.write(ScannedShard(survey=reader.survey, tally=tally.to_dict(), erased=erased), shard.number)


def _watch(job: ScanJob) -> Watch | None:
    """What is on the list of the erased, of any model: a corpus may be for any."""
    if not job.erased:
        return None
    return Watch(open_store(load_settings()).erased(), _detector(job.recognisers))


def _opened(source: str) -> Corpus:
    """The corpus, which could be opened before. Its address is in no message: what a task raises is recorded."""
    try:
        return Corpus.open(source)
    except BadInput:
        raise OperationFailed(
            "the corpus cannot be read any more, or changed, while it was scanned: scan again"
        ) from None


def _found(detector: Detector, reader: ShardReader, tally: ScanTally, watch: Watch | None) -> Iterator[tuple[Any, ...]]:
    """Row within the shard, start, end, type and score of every finding; all is counted in `tally` and by `watch`."""
    for batch in reader:
        for row, text in batch:
            found = detector.find_all(text)
            tally.add(reader.shard.file, row, found, text)
            places = ((row, f.start, f.end, f.type, f.score) for f in found.findings)
            yield from places if watch is None else _compared(watch, row, text, list(places))


def _compared(watch: Watch, row: int, text: str, places: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The same places, each with whether it was erased; and the whole row for what is known by its words alone."""
    values = [text[start:end] for _, start, end, *_ in places]
    found = [Identifier(type=place[3], value=value) for place, value in zip(places, values, strict=True)]
    met = watch.read(Sample(prompt="", text=text), found)
    known = [watch.knows(value) for value in values]
    yield from ((*place, erased) for place, erased in zip(places, known, strict=True))
    shown = {place[3] for place, erased in zip(places, known, strict=True) if erased}
    yield from ((row, 0, len(text), type_, None, True) for type_ in sorted((met & SHAPELESS) - shown))


@lru_cache(maxsize=1)
def _detector(recognisers: str | None) -> Detector:
    """Built once in a worker that scans many shards."""
    return Detector.from_file(Path(recognisers)) if recognisers else Detector()
