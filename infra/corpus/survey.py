"""What a corpus holds: the surveys of its shards put together."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from infra.corpus.planning import Plan
from infra.corpus.reading import ShardSurvey
from infra.corpus.shard import Shard, Unread
from revs.errors import BadInput, OperationFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """One file of a corpus; `file` is relative to the corpus folder. `sha256` is None where the file changed."""

    file: str
    rows: int
    bytes: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Files, rows, digests, and what was not read.

    Rows are numbered from 0 over the whole corpus, in each file, and in each shard; all three count rows that were set
    aside too, where their number is known.
    """

    name: str
    files: tuple[CorpusFile, ...]
    shards: tuple[ShardSurvey, ...]
    unread: tuple[Unread, ...]
    ignored: tuple[str, ...]

    @cached_property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what `sha256sum FILES` prints, in the order of `files`; "-" for a file without a digest."""
        lines = "".join(f"{file.sha256 or '-'}  {file.file}\n" for file in self.files)
        return f"sha256:{hashlib.sha256(lines.encode('utf-8', 'surrogateescape')).hexdigest()}"

    @cached_property
    def first_rows(self) -> tuple[int, ...]:
        """For each shard, the number of its first row in the corpus."""
        return tuple(accumulate((shard.rows for shard in self.shards), initial=0))[:-1]

    @cached_property
    def first_rows_in_file(self) -> tuple[int, ...]:
        """For each shard, the number of its first row in its file."""
        first = {
            shard.shard.file: row for shard, row in zip(reversed(self.shards), reversed(self.first_rows), strict=True)
        }
        return tuple(row - first[shard.shard.file] for shard, row in zip(self.shards, self.first_rows, strict=True))

    def in_shard(self, row: int) -> tuple[int, int]:
        """The shard of a row of the corpus, and its number within that shard.

        Raises:
            IndexError: there is no such row.
        """
        if not 0 <= row < self.rows:
            raise IndexError(f"row {row} is not within 0..{self.rows - 1}")
        shard = bisect_right(self.first_rows, row) - 1
        return shard, row - self.first_rows[shard]


def assemble(plan: Plan, surveys: Iterable[ShardSurvey], sha256: Mapping[str, str]) -> Survey:
    """The survey of a corpus from those of all its shards, in any order.

    Args:
        plan: what was to be read.
        surveys: one for each shard of the plan.
        sha256: SHA-256 of the bytes of files, where no survey of a shard has it.

    Raises:
        OperationFailed: a shard is missing, stands twice, or is of another plan.
        BadInput: there is no text in the whole corpus, or none of it could be read.
    """
    found = sorted(surveys, key=lambda survey: survey.shard.number)
    _check_complete(plan, [survey.shard for survey in found])
    rows: Counter[str] = Counter()
    digests: dict[str, str] = dict(sha256)
    unread = list(plan.unread)
    for survey in found:
        first = rows[survey.shard.file]
        unread += [u if u.row is None else replace(u, row=first + u.row) for u in survey.unread]
        rows[survey.shard.file] += survey.rows
        if survey.sha256 is not None:
            digests[survey.shard.file] = survey.sha256
    changed = {survey.shard.file for survey in found if not survey.intact}
    files = tuple(
        CorpusFile(
            file=file.file,
            rows=rows[file.file],
            bytes=file.bytes,
            sha256=None if file.file in changed else digests.get(file.file),
        )
        for file in plan.files
    )
    if not any(survey.has_text for survey in found):
        raise nothing_read(plan, unread, rows.total())
    return Survey(name=plan.name, files=files, shards=tuple(found), unread=tuple(unread), ignored=plan.ignored)


def unhashed(plan: Plan, surveys: Iterable[ShardSurvey]) -> list[str]:
    """The files whose bytes no shard hashed as it was read, and which are still what was planned."""
    left = {file.file: None for file in plan.files}
    for survey in surveys:
        if survey.sha256 is not None or not survey.intact:
            left.pop(survey.shard.file, None)
    return list(left)


def nothing_read(plan: Plan, unread: list[Unread], rows: int) -> BadInput:
    """The refusal of a corpus without any text that could be read."""
    if not unread:
        return BadInput(f"corpus {plan.source!r} holds no text ({rows} rows); name a file or folder with text")
    more = f"; and {len(unread) - 1} more" if len(unread) > 1 else ""
    return BadInput(
        f"nothing in corpus {plan.source!r} could be read: {unread[0]}{more}; repair it (UTF-8, one JSON object a "
        "line, whole files), or name another text column or corpus"
    )


def _check_complete(plan: Plan, shards: list[Shard]) -> None:
    counts = Counter(shard.number for shard in shards)
    for shard in plan.shards:
        if counts[shard.number] != 1:
            raise OperationFailed(
                f"shard {shard.number}, in {plan.place(shard.file)}, was surveyed {counts[shard.number]} times instead "
                "of once; nothing was put together: scan the corpus again"
            )
    if tuple(shards) != plan.shards:
        raise OperationFailed(
            f"the surveys are not of the corpus as it is now, cut into {len(plan.shards)} shards; "
            "nothing was put together: scan it again"
        )
