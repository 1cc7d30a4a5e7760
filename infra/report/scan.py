"""The record of a scan: what personal data a corpus holds, and what of it was not read. One page, and canonical JSON.

Both are made of a `ScanSummary` alone. A scan that left anything unread says so first, and never that there is nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import rfc8785

from infra.detection.tally import Sample, ScanTally
from infra.report.charts import counts_chart, largest_first
from infra.report.report import render, write
from infra.requests.outcomes import plural
from revs.errors import BadInput, OperationFailed

SCHEMA = "revs.scan/1"
FILES_SHOWN = 200
NOT_READ_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """Rows of a file that were not read, or not wholly (`partly`); `rows` None: nobody knows how many."""

    file: str
    reason: str
    rows: int | None
    partly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanSummary:
    """What a scan found.

    Attributes:
        corpus: its manifest; `name`, `digest`, `rows`, `files` and `ignored` are shown where they are there.
        rows_read: rows that were read, of which `rows_with` hold a finding.
        by_file: findings by file and type.
        rows_by_file: rows read by file.
        samples: masked findings by type.
        not_read: whatever was left out, with its reason.
        settings: of the detector (`DetectorConfig.settings()`).
        versions: of the programs.
        seconds: the scan took.
        seed: of the draw of samples.
        finished: the time it ended, as text.
    """

    corpus: Mapping[str, Any]
    rows_read: int
    rows_with: int
    characters: int
    by_file: Mapping[str, Mapping[str, int]]
    rows_by_file: Mapping[str, int]
    samples: Mapping[str, tuple[Sample, ...]]
    not_read: tuple[NotRead, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    seconds: float
    seed: int
    finished: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise BadInput(f"a scan cannot have taken {self.seconds} seconds; give a number from 0")

    @classmethod
    def of(
        cls,
        tally: ScanTally,
        *,
        corpus: Mapping[str, Any],
        settings: Mapping[str, Any],
        versions: Mapping[str, str],
        seconds: float,
        finished: str = "",
    ) -> ScanSummary:
        """The summary of a whole scan; rows of the manifest that no shard accounts for count as not read."""
        by_file: dict[str, dict[str, int]] = {file: {} for file in sorted(tally.rows)}
        for (file, type_), count in sorted(tally.counts.items()):
            by_file.setdefault(file, {})[type_] = count
        return cls(
            corpus=dict(corpus),
            rows_read=tally.rows.total(),
            rows_with=tally.rows_with.total(),
            characters=tally.characters,
            by_file=by_file,
            rows_by_file=dict(sorted(tally.rows.items())),
            samples=tally.samples,
            not_read=_not_read(tally, corpus),
            settings=dict(settings),
            versions=dict(versions),
            seconds=seconds,
            seed=tally.seed,
            finished=finished,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Findings by type."""
        totals: Counter[str] = Counter()
        for of_file in self.by_file.values():
            totals.update(of_file)
        return dict(sorted(totals.items()))

    @property
    def complete(self) -> bool:
        """Whether every row was read by every recogniser."""
        return not self.not_read and self.rows_read > 0

    @property
    def findings(self) -> int:
        return sum(self.counts.values())

    def per_thousand(self, count: int, rows: int) -> float | None:
        """Findings per 1,000 rows; None where no row was read."""
        return round(1000 * count / rows, 3) if rows else None

    def handed_on(self, name: Callable[[str], str], corpus: Mapping[str, Any]) -> ScanSummary:
        """The same for other eyes: every file under what `name` gives for it, and another manifest of the corpus."""
        return replace(
            self,
            corpus=dict(corpus),
            by_file={name(file): counts for file, counts in self.by_file.items()},
            rows_by_file={name(file): rows for file, rows in self.rows_by_file.items()},
            samples={
                type_: tuple(replace(sample, file=name(sample.file)) for sample in kept)
                for type_, kept in self.samples.items()
            },
            not_read=tuple(replace(left, file=name(left.file)) for left in self.not_read),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "schema": SCHEMA,
            "complete": self.complete,
            "corpus": dict(self.corpus),
            "rows": {"read": self.rows_read, "with_findings": self.rows_with},
            "characters": self.characters,
            "findings": self.findings,
            "counts": [
                {"type": t, "findings": n, "per_thousand_rows": self.per_thousand(n, self.rows_read)}
                for t, n in self.counts.items()
            ],
            "files": [
                {"file": file, "rows": self.rows_by_file.get(file, 0), "counts": dict(counts)}
                for file, counts in self.by_file.items()
            ],
            "samples": [
                {"type": type_, "file": s.file, "row": s.row, "masked": s.masked}
                for type_, kept in self.samples.items()
                for s in kept
            ],
            "not_read": [asdict(left) for left in self.not_read],
            "detector": dict(self.settings),
            "versions": dict(self.versions),
            "seconds": self.seconds,
            "seed": self.seed,
            "finished": self.finished,
        }


def write_scan_report(summary: ScanSummary, folder: Path) -> Path:
    """Write `folder`/scan.json (canonical, RFC 8785) and `folder`/scan.html, and return the path of the latter.

    The same summary gives the same bytes. Each file is replaced in one step.

    Raises:
        OperationFailed: the summary holds what JSON cannot, or the files could not be written.
    """
    files = {"scan.json": scan_json(summary), "scan.html": render_scan(summary).encode()}
    write(folder, files, what="the scan report", remedy="make room or give another folder")
    return folder / "scan.html"


def scan_json(summary: ScanSummary) -> bytes:
    """The summary as canonical JSON."""
    try:
        return bytes(rfc8785.dumps(summary.to_dict()))
    except (ValueError, TypeError) as error:
        raise OperationFailed(f"no scan report written: JSON cannot hold it ({type(error).__name__})") from None


def render_scan(summary: ScanSummary) -> str:
    """The page: one file, no script, nothing loaded from elsewhere."""
    return render("scan.html.j2", _view(summary))


def _not_read(tally: ScanTally, corpus: Mapping[str, Any]) -> tuple[NotRead, ...]:
    skipped = [NotRead(file=f, reason=why, rows=n or None) for (f, why), n in sorted(tally.skipped.items())]
    stopped = [NotRead(file=f, reason=why, rows=n, partly=True) for (f, why), n in sorted(tally.stopped.items())]
    kind, lost = "a kind of file that is not read", "rows of the manifest that no part of the scan read"
    ignored = [NotRead(file=str(f), reason=kind, rows=None) for f in corpus.get("ignored") or ()]
    listed = corpus.get("rows")
    missing = listed - tally.rows.total() - tally.skipped.total() if isinstance(listed, int) else 0
    rest = [NotRead(file="", reason=lost, rows=missing)] if missing > 0 else []
    return (*skipped, *stopped, *ignored, *rest)


def _view(summary: ScanSummary) -> dict[str, Any]:
    files = sorted(summary.by_file.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    most = sorted(summary.not_read, key=lambda n: (-(n.rows or 0), n.file, n.reason))
    return {
        "summary": summary,
        "verdict": _verdict(summary),
        "outcome": "unfinished" if not summary.complete else "refused" if summary.findings else "closed",
        "warning": _warning(summary),
        "types": largest_first(summary.counts),
        "chart": counts_chart(summary.counts),
        "files": [_file(summary, file, counts) for file, counts in files[:FILES_SHOWN]],
        "files_left": max(0, len(files) - FILES_SHOWN),
        "not_read": most[:NOT_READ_SHOWN],
        "not_read_left": max(0, len(most) - NOT_READ_SHOWN),
        "settings": {name: _words(value) for name, value in summary.settings.items()},
    }


def _verdict(summary: ScanSummary) -> str:
    rows = plural(summary.rows_read, "row")
    if summary.findings:
        least = "" if summary.complete else "at least "
        found = f"{least}{plural(summary.findings, 'finding')} of personal data in {plural(summary.rows_with, 'row')}"
        return f"{found[0].upper()}{found[1:]}, of {rows} that were read."
    if summary.complete:
        return f"No personal data was found in {rows}; all were read, by every recogniser."
    return f"No finding among the {rows} that were read, and nothing can be said of the rest."


def _warning(summary: ScanSummary) -> str:
    if summary.complete:
        return ""
    if not summary.not_read:
        return "No row was read at all."
    whole = sum(n.rows or 0 for n in summary.not_read if not n.partly)
    partly = sum(n.rows or 0 for n in summary.not_read if n.partly)
    unknown = sum(n.rows is None for n in summary.not_read)
    said = [
        f"{plural(whole, 'row')} not read" if whole else "",
        f"{plural(unknown, 'file')} not read" if unknown else "",
        f"{plural(partly, 'time')} a row was read in part, or not by every recogniser" if partly else "",
    ]
    return f"{'; '.join(each for each in said if each)}. What stands there is not known."


def _file(summary: ScanSummary, file: str, counts: Mapping[str, int]) -> dict[str, Any]:
    words = ", ".join(f"{type_} {count:,}" for type_, count in largest_first(counts))
    return {"file": file, "rows": summary.rows_by_file.get(file, 0), "findings": sum(counts.values()), "types": words}


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_words(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_words(item) for item in value) or "none"
    return "none" if value is None or value == "" else str(value)
