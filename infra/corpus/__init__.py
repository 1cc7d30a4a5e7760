"""Training corpora of any size: text, JSON Lines or Parquet, on a disk or at any fsspec address.

A corpus is cut into shards without reading its text (planning.py). Each shard is read in constant memory, by any
process (reading.py), and gives batches of rows and a survey; the surveys of all shards make the survey of the corpus
(survey.py), whose manifest is evidence. What cannot be read is set aside by name, and the rest goes on. No copy of the
text is written anywhere: a cached copy of a corpus is one more copy of the personal data in it.
"""

from __future__ import annotations

from infra.corpus.address import absolute
from infra.corpus.corpus import Corpus
from infra.corpus.manifest import Pseudonym, StandIns, manifest_of
from infra.corpus.planning import plan
from infra.corpus.reading import ShardReader, ShardSurvey
from infra.corpus.shard import Shard, Unread, unread_summary
from infra.corpus.survey import Survey, assemble

__all__ = [
    "Corpus",
    "Pseudonym",
    "Shard",
    "ShardReader",
    "ShardSurvey",
    "StandIns",
    "Survey",
    "Unread",
    "absolute",
    "assemble",
    "manifest_of",
    "plan",
    "unread_summary",
]
