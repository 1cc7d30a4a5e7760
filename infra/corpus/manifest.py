"""What leaves the user's own terminal about a corpus: numbers, and stand-ins for its names and digests.

A file may be named after a person, and the SHA-256 of a small file is found by guessing its content. So names and
digests are replaced by keyed pseudonyms. Whoever has the key finds a file again by computing its pseudonym, or by its
number: files are numbered in the order of their paths. Equal digests have equal pseudonyms, so a changed corpus is
still noticed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from infra.corpus.shard import Unread
from infra.corpus.survey import Survey

Pseudonym = Callable[[str], str]
"""Gives at least 12 characters that stand for a text under a key."""
_SHOWN = 12


class StandIns:
    """What stands for the names of one corpus and of its files, and for digests."""

    def __init__(self, survey: Survey, pseudonym: Pseudonym) -> None:
        self._pseudonym = pseudonym
        self.corpus = f"corpus {self._short(survey.name)}"
        files = [file.file for file in survey.files]
        others = list(dict.fromkeys([*survey.ignored, *(u.file for u in survey.unread if u.file not in set(files))]))
        self._files = self._numbered("file", files) | self._numbered("other file", others)

    def file(self, name: str) -> str:
        """Such as "file 3 of 7 (9f86d081884c)"; "" is no file and stays."""
        return self._files.get(name) or (f"file ({self._short(name)})" if name else "")

    def digest(self, sha256: str | None) -> str | None:
        """Stands for a SHA-256, with or without its prefix; None where there is none."""
        return None if sha256 is None else f"hmac-sha256:{self._pseudonym(sha256.removeprefix('sha256:'))}"

    def unread(self, entry: Unread) -> dict[str, Any]:
        """What was set aside, without its name and without names of columns."""
        return asdict(entry) | {"file": self.file(entry.file), "detail": ""}

    def _short(self, name: str) -> str:
        return self._pseudonym(name)[:_SHOWN]

    def _numbered(self, kind: str, names: list[str]) -> dict[str, str]:
        return {
            name: f"{kind} {number} of {len(names)} ({self._short(name)})" for number, name in enumerate(names, start=1)
        }


def manifest_of(survey: Survey, pseudonym: Pseudonym) -> dict[str, Any]:
    """The manifest that evidence, batch records and reports hold: plain JSON without text, names or bare digests."""
    names = StandIns(survey, pseudonym)
    return {
        "name": names.corpus,
        "digest": names.digest(survey.digest),
        "rows": survey.rows,
        "files": [
            {
                "file": names.file(file.file),
                "rows": file.rows,
                "bytes": file.bytes,
                "digest": names.digest(file.sha256),
            }
            for file in survey.files
        ],
        "shards": [
            {
                "file": names.file(shard.shard.file),
                "begin": shard.shard.begin,
                "end": shard.shard.end,
                "rows": shard.rows,
                "digest": names.digest(shard.digest),
            }
            for shard in survey.shards
        ],
        "ignored": [names.file(file) for file in survey.ignored],
        "unread": [names.unread(entry) for entry in survey.unread],
    }
