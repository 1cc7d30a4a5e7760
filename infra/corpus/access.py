"""Single rows of a surveyed corpus: only the block of text or the row group around a row is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from cachetools import LRUCache

from infra.corpus.planning import Plan
from infra.corpus.reading import Batch, ShardReader
from infra.corpus.shard import Shard
from infra.corpus.survey import Survey
from revs.errors import OperationFailed

KEPT_BYTES = 32 << 20
_KEPT_AT_MOST = KEPT_BYTES // 4
"""A larger stretch, such as a large row group, is read anew every time rather than push out the others."""


class RowAccess:
    """Reads rows by number, and keeps the stretches it read last in memory."""

    def __init__(self, plan: Plan, survey: Survey) -> None:
        self._plan, self._survey = plan, survey
        self._kept = LRUCache[tuple[int, int], list[Batch]](KEPT_BYTES, getsizeof=_bytes)

    def texts(self, rows: Iterable[int]) -> dict[int, str]:
        """The texts of the given rows, each once, in ascending order; "" for a row that was set aside.

        Raises:
            IndexError: there is no such row.
            OperationFailed: the corpus changed since it was surveyed.
        """
        wanted = sorted(set(rows))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < self._survey.rows:
            raise IndexError(f"rows {wanted[0]} to {wanted[-1]} are not all within 0..{self._survey.rows - 1}")
        found: dict[int, str] = {}
        for (shard, mark), group in groupby(wanted, self._stretch):
            first = self._survey.first_rows[shard]
            within = {row - first for row in group}
            texts = _picked(self._read(shard, mark), within)
            found.update((first + row, texts.get(row, "")) for row in sorted(within))
        return found

    def _stretch(self, row: int) -> tuple[int, int]:
        """The shard of a row, and which of its marks the row lies after."""
        shard, within = self._survey.in_shard(row)
        return shard, max(bisect_right(self._survey.shards[shard].marks, within, key=lambda mark: mark[0]) - 1, 0)

    def _read(self, number: int, mark: int) -> Iterator[Batch]:
        if (number, mark) in self._kept:
            yield from self._kept[number, mark]
            return
        first, shard = self._part(number, mark)
        plan = self._plan
        reader = ShardReader(plan.source, shard, text_column=plan.text_column, longest=plan.longest)
        batches: list[Batch] = []
        size = 0
        for batch in reader:
            moved = Batch(first + batch.first, batch.array)
            size += batch.array.nbytes
            if size <= _KEPT_AT_MOST:
                batches.append(moved)
            else:
                batches.clear()
            yield moved
        if not reader.survey.intact:
            raise OperationFailed(
                f"{plan.place(shard.file)} of the corpus: {reader.survey.unread[0].reason}, after the corpus was "
                "surveyed; its row numbers no longer hold: start again"
            )
        if size <= _KEPT_AT_MOST:
            self._kept[number, mark] = batches

    def _part(self, number: int, mark: int) -> tuple[int, Shard]:
        """The number within the shard of the first row of a stretch, and the stretch as a shard of its own."""
        survey = self._survey.shards[number]
        if not survey.marks:
            return 0, survey.shard
        first, begin = survey.marks[mark]
        end = survey.marks[mark + 1][1] if mark + 1 < len(survey.marks) else survey.shard.end
        return first, replace(survey.shard, begin=begin, end=end, rows=None)


def _bytes(batches: list[Batch]) -> int:
    return sum(batch.array.nbytes for batch in batches)


def _picked(batches: Iterator[Batch], rows: set[int]) -> dict[int, str]:
    """The texts of `rows` out of consecutive batches; a stretch that is too large to be kept is not read to its end."""
    found: dict[int, str] = {}
    last, size = max(rows), 0
    for batch in batches:
        inside = rows.intersection(range(batch.first, batch.first + len(batch)))
        found.update((row, batch.array[row - batch.first].as_py() or "") for row in inside)
        size += batch.array.nbytes
        if batch.first + len(batch) > last and size > _KEPT_AT_MOST:
            break
    return found
