"""The page and the JSON of a scan: what they say, above all of what was not read."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from infra.detection import DetectorConfig
from infra.detection.findings import Finding, Findings, Unread
from infra.detection.tally import ScanTally
from infra.report import ScanSummary, write_scan_report
from infra.report.scan import NotRead, render_scan, scan_json
from revs.errors import BadInput, OperationFailed

TEXT = "alice.roe@example.com 900-12-3456"
FOUND = Findings(
    findings=(
        Finding(start=0, end=21, type="EMAIL_ADDRESS", score=1.0),
        Finding(start=22, end=33, type="US_SSN", score=0.5),
    )
)
NOTHING = Findings(findings=())
STOPPED = Findings(findings=(), unread=(Unread(recogniser="slow", reason="took too long", detail="3 s"),))
CORPUS: dict[str, Any] = {"name": "letters", "digest": "sha256:ab12", "rows": 4, "files": [], "ignored": []}


def summary(rows: list[Findings], *, skipped: int = 0, corpus: dict[str, Any] | None = None) -> ScanSummary:
    tally = ScanTally(seed=3)
    for row, findings in enumerate(rows):
        tally.add(f"part-{row % 2}.txt", row, findings, TEXT)
    if skipped:
        tally.leave("<b>bad</b>.txt", "not UTF-8", rows=skipped, partly=False)
    return ScanSummary.of(
        tally,
        corpus=CORPUS | (corpus or {}),
        settings=DetectorConfig().settings(),
        versions={"revs": "0.1.0"},
        seconds=1.5,
        finished="2026-11-23T20:00:00Z",
    )


def words(page: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())


def test_a_whole_scan_counts_by_type_and_file_with_masked_samples() -> None:
    page = words(render_scan(summary([FOUND, FOUND, NOTHING, FOUND])))
    assert "6 findings of personal data in 3 rows, of 4 rows that were read." in page
    assert "EMAIL_ADDRESS 3 750.0" in page
    assert "part-0.txt 2 2 1,000.0" in page
    assert "a•••@e•••.com" in page
    assert "•••56" in page
    assert "Every row was read, by every recogniser." in page
    assert "not complete" not in page


def test_a_whole_scan_without_findings_says_so() -> None:
    assert "No personal data was found in 4 rows; all were read" in words(render_scan(summary([NOTHING] * 4)))


INCOMPLETE = {
    "rows that nobody could read": (summary([NOTHING] * 3, skipped=1), "1 row not read."),
    "a recogniser that stopped": (
        summary([NOTHING] * 3 + [STOPPED]),
        "1 time a row was read in part, or not by every recogniser.",
    ),
    "a kind of file that is not read": (summary([NOTHING] * 4, corpus={"ignored": ["a.pdf"]}), "1 file not read."),
    "rows that no shard accounts for": (summary([NOTHING] * 3), "1 row not read."),
    "no row at all": (summary([], corpus={"rows": 0}), "No row was read at all."),
}


@pytest.mark.parametrize(("of", "said"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_scan_that_left_anything_unread_says_so_first_and_never_that_there_is_nothing(
    of: ScanSummary, said: str
) -> None:
    page = words(render_scan(of))
    assert not of.complete
    assert said in page
    assert page.index("This scan is not complete.") < page.index("nothing can be said of the rest")
    for phrase in ("nothing found", "no personal data", "read whole yes", "every row was read"):
        assert phrase not in page.lower()
    assert json.loads(scan_json(of))["complete"] is False


def test_findings_of_a_scan_that_is_not_complete_are_a_least_number() -> None:
    of = summary([FOUND, FOUND, STOPPED], skipped=2, corpus={"rows": 5})
    page = words(render_scan(of))
    assert "At least 4 findings of personal data in 2 rows, of 3 rows that were read." in page
    assert "recogniser 'slow' took too long" in page.replace("&#39;", "'")
    assert of.not_read == (
        NotRead(file="<b>bad</b>.txt", reason="not UTF-8", rows=2),
        NotRead(file="part-0.txt", reason="recogniser 'slow' took too long", rows=1, partly=True),
    )


def test_the_page_stands_alone_and_escapes_what_it_shows() -> None:
    page = render_scan(summary([FOUND] * 3, skipped=1))
    assert "<b>bad</b>" not in page
    assert "&lt;b&gt;bad" in page
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)
    assert "default-src 'none'" in page


def test_no_text_is_in_the_record(tmp_path: Path) -> None:
    page = write_scan_report(summary([FOUND] * 4), tmp_path)
    for content in (page.read_text(encoding="utf-8"), (tmp_path / "scan.json").read_text(encoding="utf-8")):
        assert [part for part in ("alice", "roe@", "example", "900-12", "3456") if part in content] == []


def test_the_same_summary_gives_the_same_bytes_and_canonical_json(tmp_path: Path) -> None:
    write_scan_report(summary([FOUND] * 4), tmp_path / "a")
    write_scan_report(summary([FOUND] * 4), tmp_path / "b")
    for name in ("scan.json", "scan.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    stored = json.loads((tmp_path / "a" / "scan.json").read_bytes())
    assert stored["schema"] == "revs.scan/1"
    assert stored["counts"][1] == {"type": "US_SSN", "findings": 4, "per_thousand_rows": 1000.0}


def test_many_files_are_shown_in_part_and_that_is_said() -> None:
    tally = ScanTally(seed=0)
    for row in range(250):
        tally.add(f"{row:03}.txt", 0, FOUND, TEXT)
    of = ScanSummary.of(tally, corpus={"name": "c", "rows": 250}, settings={}, versions={}, seconds=0)
    assert "The 200 files with the most findings; 50 more are in scan.json." in words(render_scan(of))
    assert len(json.loads(scan_json(of))["files"]) == 250


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -1.0])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(BadInput, match="cannot have taken"):
        ScanSummary.of(ScanTally(seed=0), corpus={}, settings={}, versions={}, seconds=seconds)


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperationFailed, match="could not be written"):
        write_scan_report(summary([FOUND]), tmp_path / "file" / "below")
