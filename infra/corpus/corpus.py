"""A training corpus of any size, seen as one sequence of rows; its text is never held in memory as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from infra.corpus.access import RowAccess
from infra.corpus.address import absolute
from infra.corpus.manifest import Pseudonym, StandIns, manifest_of
from infra.corpus.planning import Plan, plan
from infra.corpus.reading import ShardReader, ShardSurvey, file_digest
from infra.corpus.rows import holds_text
from infra.corpus.shard import MAX_ROW_BYTES, SHARD_BYTES, Shard, Unread
from infra.corpus.survey import Survey, assemble, nothing_read, unhashed
from revs.errors import OperationFailed

_HASHED_AT_ONCE = 4


class Corpus:
    """Rows of text, numbered from 0. Its repr and its errors never show a row.

    Opening plans the shards. What is known only when all rows were read (`len`, `digest`, `unread`) comes from
    the survey: of a whole iteration, of surveys put together with `assemble`, or else of a pass made for it.
    """

    def __init__(self, plan: Plan, survey: Survey | None = None) -> None:
        self.plan = plan
        self._survey = survey

    @classmethod
    def open(
        cls,
        source: str | Path,
        *,
        text_column: str = "text",
        shard_bytes: int = SHARD_BYTES,
        longest: int = MAX_ROW_BYTES,
        surveys: Iterable[ShardSurvey] = (),
        sha256: Mapping[str, str] | None = None,
    ) -> Corpus:
        """Plan how a corpus is read, and see that there is text in it.

        Args:
            source: a .txt, .jsonl (both also .gz) or .parquet file, a folder of these, read in order of their relative
                paths, or an fsspec address of either (s3://…, hf://datasets/ORG/NAME).
            text_column: column with the text, in JSON Lines and Parquet.
            shard_bytes: bytes of text in a shard; a row group of Parquet is never split.
            longest: bytes of the longest row that is read.
            surveys: of all its shards, from an earlier time; used if the corpus is still the same by its files' sizes
                and versions.
            sha256: with these, SHA-256 of the bytes of its files.

        Raises:
            BadInput: nothing could be read: the source is missing, of another kind, damaged, or holds no text. What
                is wrong with a part of the corpus is not raised but set aside: `unread`.
        """
        planned = plan(absolute(source), text_column=text_column, shard_bytes=shard_bytes, longest=longest)
        if not planned.shards:
            raise nothing_read(planned, list(planned.unread), 0)
        with suppress(OperationFailed):  # of another state of the corpus, or none: it has to be read
            return cls(planned, assemble(planned, surveys, sha256 or {}))
        corpus = cls(planned)
        if not corpus._begins_with_text():
            corpus.survey()
        return corpus

    def __repr__(self) -> str:
        return f"Corpus(name={self.plan.name!r}, files={len(self.plan.files)}, shards={len(self.shards)})"

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.plan.shards

    def read(self, shard: Shard, *, hasher: Any = None) -> ShardReader:
        """Read one shard; `ShardReader` is the same without the corpus, for another process."""
        text_column, longest = self.plan.text_column, self.plan.longest
        return ShardReader(self.plan.source, shard, text_column=text_column, longest=longest, hasher=hasher)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Every row that can be read, with its number. A whole iteration is also a new survey."""
        surveys: list[ShardSurvey] = []
        first = 0
        for reader in self._readers():
            for batch in reader:
                for row, text in batch:
                    yield first + row, text
            surveys.append(reader.survey)
            first += reader.survey.rows
        self.assemble(surveys)

    def survey(self) -> Survey:
        """What the corpus holds; reads it once if that is not yet known.

        Raises:
            BadInput: none of it could be read.
        """
        if self._survey is None:
            self.assemble(reader.read_through() for reader in self._readers())
        assert self._survey is not None
        return self._survey

    def assemble(self, surveys: Iterable[ShardSurvey], sha256: Mapping[str, str] | None = None) -> Survey:
        """Put the surveys of all shards together; from then on this is the survey of the corpus.

        Args:
            surveys: one of each shard, in any order.
            sha256: digests of files' bytes; files that have none, here or in a shard's survey, are read for it.

        Raises:
            OperationFailed: a shard is missing, stands twice, or is of another corpus or state.
            BadInput: none of the corpus could be read.
        """
        found = list(surveys)
        known = self._known() | dict(sha256 or {})
        left = [file for file in self.plan.files if file.file in unhashed(self.plan, found) and file.file not in known]
        assemble(self.plan, found, known)  # refuse first, then read
        with ThreadPoolExecutor(_HASHED_AT_ONCE) as pool:
            digests = pool.map(lambda file: file_digest(self.plan.source, file), left)
        known |= {file.file: digest for file, digest in zip(left, digests, strict=True) if digest is not None}
        self._survey = assemble(self.plan, found, known)
        self.__dict__.pop("_access", None)
        return self._survey

    def __len__(self) -> int:
        """Rows, with those that were set aside, where their number is known."""
        return self.survey().rows

    @property
    def digest(self) -> str:
        """SHA-256 over what `sha256sum FILES` prints for the corpus files in order."""
        return self.survey().digest

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What was set aside."""
        return self.survey().unread

    def manifest(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """What the evidence holds of the corpus: name, digest, rows, files, shards, what was ignored and unread.

        Args:
            pseudonym: gives what stands for a name or digest, under a key (`Vault.pseudonym`).
        """
        return manifest_of(self.survey(), pseudonym)

    def keyed_digest(self, pseudonym: Pseudonym) -> str:
        """The digest as the manifest has it, to tell whether the corpus is still the same."""
        return str(StandIns(self.survey(), pseudonym).digest(self.digest))

    def text(self, row: int) -> str:
        """The text of one row, from 0; "" if it was set aside. For many rows `texts` reads far less."""
        return self.texts([row])[row]

    def texts(self, rows: Iterable[int]) -> dict[int, str]:
        """The texts of the given rows (each once, in ascending order), "" for one set aside.

        Raises:
            IndexError: a row is outside 0..len-1.
            OperationFailed: the corpus changed since it was surveyed.
        """
        return self._access.texts(rows)

    @cached_property
    def _access(self) -> RowAccess:
        return RowAccess(self.plan, self.survey())

    def _known(self) -> dict[str, str]:
        """Digests of files from the last survey: shards notice when a file is no longer what was planned."""
        return {file.file: file.sha256 for file in self._survey.files if file.sha256} if self._survey else {}

    def _readers(self) -> Iterator[ShardReader]:
        """Of every shard in order, so that one hash goes through all shards of a file of text."""
        hasher: Any = None
        for shard in self.shards:
            hasher = hashlib.sha256() if shard.begin == 0 else hasher
            yield self.read(shard, hasher=hasher)

    def _begins_with_text(self) -> bool:
        """Whether the first batch of some file's first shard holds text; what can be told without reading it all."""
        firsts = {shard.file: shard for shard in reversed(self.shards)}.values()
        return any(_has_text(self.read(shard)) for shard in reversed(list(firsts)))


def _has_text(reader: ShardReader) -> bool:
    """Whether its first batch holds text."""
    return any(holds_text(batch.array) for batch in islice(reader, 1))
