"""What a scan found, counted as it goes: by type and file, with a few masked samples, and with what was not read.

Shards are counted apart and merged in any order with the same result: a sample is kept for its rank under a keyed hash
of its place, not for when it came. Nothing in a tally is text of the corpus.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.detection.findings import Finding, Findings
from infra.identifiers.masking import masked
from revs.errors import BadInput

VERSION = 1
SAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Sample:
    """A masked finding and its place; `rank` (hexadecimal) orders the samples of a type."""

    rank: str
    file: str
    row: int
    masked: str


class ScanTally:
    """Counts of a scan or of one of its shards.

    Args:
        seed: of the draw of samples; tallies are merged only with their like.
        samples: most samples of each type.
    """

    def __init__(self, *, seed: int, samples: int = SAMPLES) -> None:
        self.seed = seed
        self.samples_per_type = samples
        self.rows: Counter[str] = Counter()
        self.rows_with: Counter[str] = Counter()
        self.characters = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.skipped: Counter[tuple[str, str]] = Counter()  # rows nobody read, by file and reason
        self.stopped: Counter[tuple[str, str]] = Counter()  # rows that were not read by every recogniser, or in part
        self._samples: dict[str, list[Sample]] = {}
        self._key = f"revs.tally/{seed}".encode()

    def add(self, file: str, row: int, findings: Findings, text: str) -> None:
        """Count one row that was read; a recogniser that stopped on it is counted among what was not read."""
        self.rows[file] += 1
        self.characters += len(text)
        self.rows_with[file] += bool(findings.findings)
        for finding in findings.findings:
            self.counts[file, finding.type] += 1
            self._offer(file, row, finding, text)
        for unread in findings.unread:
            self.stopped[file, f"recogniser {unread.recogniser!r} {unread.reason}"] += 1

    def leave(self, file: str, reason: str, *, rows: int, partly: bool) -> None:
        """Count rows of a file that were read in part or not at all, 0 if nobody knows how many; no reason quotes."""
        (self.stopped if partly else self.skipped)[file, reason] += rows

    def merge(self, other: ScanTally, first: int = 0) -> None:
        """Add the counts of another shard, whose rows were counted from its beginning: row `first` of its file.

        Raises:
            BadInput: it was counted with another seed or number of samples.
        """
        if (self.seed, self.samples_per_type) != (other.seed, other.samples_per_type):
            raise BadInput(
                f"tallies of seed {self.seed} and {other.seed} do not mix; scan all shards with one seed and number "
                "of samples"
            )
        self.rows += other.rows
        self.rows_with += other.rows_with
        self.characters += other.characters
        self.counts += other.counts
        self.skipped += other.skipped
        self.stopped += other.stopped
        for type_, samples in other._samples.items():
            self._keep(type_, [replace(sample, row=first + sample.row) for sample in samples])

    @property
    def samples(self) -> dict[str, tuple[Sample, ...]]:
        """The samples of each type, by file and row."""
        return {
            type_: tuple(sorted(kept, key=lambda s: (s.file, s.row, s.rank)))
            for type_, kept in sorted(self._samples.items())
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, for `from_dict`."""
        return {
            "version": VERSION,
            "seed": self.seed,
            "samples_per_type": self.samples_per_type,
            "rows": dict(sorted(self.rows.items())),
            "rows_with": dict(sorted(self.rows_with.items())),
            "characters": self.characters,
            "counts": [[*key, count] for key, count in sorted(self.counts.items())],
            "skipped": [[*key, count] for key, count in sorted(self.skipped.items())],
            "stopped": [[*key, count] for key, count in sorted(self.stopped.items())],
            "samples": {
                type_: [[s.rank, s.file, s.row, s.masked] for s in kept]
                for type_, kept in sorted(self._samples.items())
            },
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ScanTally:
        """The tally that `to_dict` stored.

        Raises:
            BadInput: it is of another version or not of this form.
        """
        if stored.get("version") != VERSION:
            raise BadInput(f"a tally of version {stored.get('version')!r}, this program reads {VERSION}; scan again")
        try:
            tally = cls(seed=stored["seed"], samples=stored["samples_per_type"])
            tally.rows.update(stored["rows"])
            tally.rows_with.update(stored["rows_with"])
            tally.characters = stored["characters"]
            tally.counts.update({(file, type_): count for file, type_, count in stored["counts"]})
            tally.skipped.update({(file, reason): count for file, reason, count in stored["skipped"]})
            tally.stopped.update({(file, reason): count for file, reason, count in stored["stopped"]})
            for type_, kept in stored["samples"].items():
                tally._keep(type_, [Sample(rank=r, file=f, row=n, masked=m) for r, f, n, m in kept])
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"a stored tally is damaged ({type(error).__name__}); scan the shard again") from None
        return tally

    def _offer(self, file: str, row: int, finding: Finding, text: str) -> None:
        place = f"{row}/{finding.start}/{finding.end}/{finding.type}/{file}".encode("utf-8", "surrogateescape")
        rank = hashlib.blake2b(place, key=self._key[:64], digest_size=12).hexdigest()
        kept = self._samples.get(finding.type, [])
        if len(kept) < self.samples_per_type or rank < kept[-1].rank:
            value = masked(finding.type, text[finding.start : finding.end])
            self._keep(finding.type, [Sample(rank=rank, file=file, row=row, masked=value)])

    def _keep(self, type_: str, samples: list[Sample]) -> None:
        every = sorted({*self._samples.get(type_, ()), *samples})
        self._samples[type_] = every[: self.samples_per_type]
