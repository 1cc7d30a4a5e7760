"""Recognisers from a customer's file: what they find, what is refused, and how the command line takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.detection import Detector
from infra.detection import custom as custom_module
from infra.detection.custom import CustomRecogniser, read_recognisers
from revs.errors import BadInput

STAFF = CustomRecogniser(name="staff", type="STAFF_NUMBER", pattern=r"\bS-\d{6}\b")
NAMES = CustomRecogniser(name="names", values=("Bluebird", "Heron 7"), ignore_case=True)
WEAK = CustomRecogniser(name="weak", pattern=r"\b\d{6}\b", score=0.1, context=("badge",))

FOUND = [
    (STAFF, "staff S-123456.", ["S-123456"], "a pattern"),
    (STAFF, "XS-123456 S-1234567", [], "word edges of the pattern"),
    (STAFF, "s-123456", [], "another case"),
    (NAMES, "the BLUEBIRD, heron 7", ["BLUEBIRD", "heron 7"], "a list in any case"),
    (NAMES, "Bluebirds and x-Bluebird", [], "parts of longer words"),
    (NAMES, "İ Bluebird", ["Bluebird"], "a letter that grows when lowered, before it"),
    (WEAK, "badge 123456", ["123456"], "a word of the context"),
    (WEAK, "total 123456", [], "no word of the context"),
]


@pytest.mark.parametrize(("stated", "text", "written", "why"), FOUND, ids=[row[3] for row in FOUND])
def test_own_identifiers_are_found_by_pattern_and_list(
    stated: CustomRecogniser, text: str, written: list[str], why: str
) -> None:
    found = Detector(["US_SSN"], custom=[stated]).find(text)
    assert [(text[f.start : f.end], f.type) for f in found] == [(each, stated.type) for each in written]


def test_own_identifiers_stand_beside_the_known_types() -> None:
    found = Detector(custom=[STAFF]).find("S-123456 jane@example.com")
    assert [f.type for f in found] == ["STAFF_NUMBER", "EMAIL_ADDRESS"]


REFUSED = [
    ("recognisers: [{name: a, pattern: 'x', colour: red}]", "unknown key 'colour'"),
    ("recognisers: [{name: a, pattern: '('}]", "no regular expression"),
    ("recognisers: [{name: a, pattern: 'x*'}]", "matches empty text"),
    ("recognisers: [{name: a, pattern: '(a+)+$'}]", "exponential time"),
    (r"recognisers: [{name: a, pattern: 'id(\w+\s?)*:'}]", "exponential time"),
    ("recognisers: [{name: a}]", "either a pattern or values"),
    ("recognisers: [{name: a, pattern: x, values: [abc]}]", "either a pattern or values"),
    ("recognisers: [{name: a, values: [123456]}]", "no list of strings"),
    ("recognisers: [{name: a, values: [ab]}]", "fewer than 3 characters"),
    ("recognisers: [{name: a, pattern: x, type: staff}]", "no name like STAFF_NUMBER"),
    ("recognisers: [{name: a, pattern: x, score: 1.5}]", "score 1.5"),
    ("recognisers: [{name: a, pattern: x, score: high}]", "score is no number"),
    ("recognisers: [{name: a, pattern: 5}]", "pattern is int"),
    ("recognisers: [{pattern: x}]", "with a name"),
    ("recognisers: []", "needs one key"),
    ("other: [1]", "needs one key"),
    ("recognisers: [", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[row[0][:60] for row in REFUSED])
def test_a_file_that_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=reason) as caught:
        read_recognisers(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_recognisers(tmp_path / "none.yaml")


def test_a_score_that_is_never_reported_is_refused() -> None:
    with pytest.raises(BadInput, match=r"score 0\.1 is below 0\.4"):
        Detector(custom=[CustomRecogniser(name="weak", pattern="x", score=0.1)])


def test_a_pattern_that_takes_too_long_stops_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custom_module, "SECONDS", 0.05)
    slow = CustomRecogniser(name="slow", pattern=r"(?:a|a)(?:a|aa){3,90}!")
    with pytest.raises(BadInput, match="took more than"):
        Detector(["US_SSN"], custom=[slow]).find("a" * 200)


def scan(*arguments: str) -> Any:
    from flows.cli.app import app

    return CliRunner().invoke(app, ["scan", *arguments])


def test_the_scan_takes_own_recognisers_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("S-123456\nnothing\njane@example.com\n", encoding="utf-8")
    (tmp_path / "own.yaml").write_text(
        r"recognisers: [{name: staff, type: STAFF_NUMBER, pattern: '\bS-\d{6}\b'}]", encoding="utf-8"
    )
    done = scan(str(tmp_path / "rows.txt"), "--recognisers", str(tmp_path / "own.yaml"), "--json")
    assert done.exit_code == 0, done.output
    assert {row["type"]: row["findings"] for row in json.loads(done.stdout)["counts"]} == {
        "EMAIL_ADDRESS": 1,
        "STAFF_NUMBER": 1,
    }
