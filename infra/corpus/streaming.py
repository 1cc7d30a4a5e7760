"""A corpus as a Hugging Face data set: streamed from where it lies, with nothing written to any cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from infra.corpus.planning import Plan
from infra.corpus.reading import read_shard
from infra.corpus.shard import Shard
from infra.corpus.survey import Survey

if TYPE_CHECKING:
    from datasets import IterableDataset


def iterable_dataset(plan: Plan, survey: Survey) -> IterableDataset:
    """Rows with the columns file, row (within the file, from 0) and text; as many shards as the plan has."""
    from datasets import Features, IterableDataset, Value

    features = Features({"file": Value("string"), "row": Value("int64"), "text": Value("large_string")})
    shards = list(zip(plan.shards, survey.first_rows_in_file, strict=True))
    given = {"shards": shards, "source": plan.source, "text_column": plan.text_column, "longest": plan.longest}
    return IterableDataset.from_generator(examples, features=features, gen_kwargs=given)


def examples(shards: list[tuple[Shard, int]], source: str, text_column: str, longest: int) -> Iterator[dict[str, Any]]:
    """The rows of shards; each shard comes with the number, in its file, of its first row."""
    for shard, first in shards:
        for batch in read_shard(source, shard, text_column=text_column, longest=longest):
            for row, text in batch:
                yield {"file": shard.file, "row": first + row, "text": text}
