"""Recognisers from a customer's file: what they find, what is refused, and how the command line takes them."""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from infra.detection import Detector, DetectorConfig, read_config
from infra.detection.backtracking import Limits
from infra.detection.custom import CustomRecogniser
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
    found = Detector(DetectorConfig(types=("US_SSN",), custom=(stated,))).find(text)
    assert [(text[f.start : f.end], f.type) for f in found] == [(each, stated.type) for each in written]


def test_own_identifiers_stand_beside_the_known_types() -> None:
    found = Detector(DetectorConfig(custom=(STAFF,))).find("S-123456 jane@example.com")
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
    ("recognisers: []", "needs a list"),
    ("{}", "needs at least one key"),
    ("- a", "needs at least one key"),
    ("other: [1]", "unknown key 'other'"),
    ("recognisers: [", "not valid YAML"),
    ("types: [PERSON]", "cannot detect these types: PERSON"),
    ("types: EMAIL_ADDRESS", "types is no list of strings"),
    ("types: []", "cannot detect these types: none"),
    ("min_score: high", "min_score is no number"),
    ("min_score: 2", "min_score 2.0 is not between 0 and 1"),
    ("phone_regions: [US, XX]", "'XX' is no region"),
    ("context: [US_SSN]", "no mapping of types"),
    ("context: {PERSON: [name]}", "cannot detect these types: PERSON"),
    ("allow_list: [1]", "no list of strings"),
    ("ner: spacy", "the model is missing"),
    ("ner: bert:some-model", "engine 'bert' is not known"),
    ("ner: {engine: spacy, model: m, colour: red}", "unknown key 'colour'"),
    ("ner: {engine: spacy, model: m, types: [DOG]}", "types DOG"),
    ("ner: {engine: spacy, model: m, min_score: 3}", "min_score 3.0 is not between"),
    ("ner: [spacy]", "give ENGINE:MODEL"),
    ("limits: {seconds: 1}", "unknown key 'seconds'"),
    ("limits: {pattern_seconds: 0}", "pattern_seconds 0 is no number above 0"),
    ("limits: {pattern_seconds: soon}", "pattern_seconds 'soon' is no number"),
    ("recognisers: [{name: a, values_file: none.txt}]", "cannot be read"),
    ("recognisers: [{name: a, values: [abc], values_file: none.txt}]", "either values or values_file"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[row[0][:60] for row in REFUSED])
def test_a_file_that_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=reason) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_a_score_that_is_never_reported_is_refused() -> None:
    with pytest.raises(BadInput, match=r"score 0\.1 is below 0\.4"):
        Detector(DetectorConfig(custom=(CustomRecogniser(name="weak", pattern="x", score=0.1),)))


QUICK = Limits(pattern_seconds=0.3, document_seconds=60, seconds_per_million=1e-6, stops=3)
TOGETHER = Limits(pattern_seconds=0.3, document_seconds=1.2, seconds_per_million=1e-6, stops=3)
SLOW = CustomRecogniser(name="slow", pattern=r"(?:a|a)(?:a|aa){3,90}!")
ENDLESS = "a" * 200 + " jane@example.com S-123456"


def test_a_pattern_that_takes_too_long_is_told_and_the_others_go_on() -> None:
    detector = Detector(DetectorConfig(custom=(SLOW, STAFF), limits=QUICK))
    found = detector.find_all(ENDLESS)
    assert [f.type for f in found.findings] == ["EMAIL_ADDRESS", "STAFF_NUMBER"]
    assert [unread.recogniser for unread in found.unread] == ["slow"]
    assert found.unread[0].reason == "took too long"
    assert found.unread[0].detail == "more than 0.3 s on a text of 226 characters"
    assert "jane" not in str(found.unread)
    assert detector.find_all("S-123456").unread == ()


def test_what_cannot_be_told_is_raised() -> None:
    with pytest.raises(BadInput, match=r"recogniser 'slow' took too long \(more than .*\); simplify it"):
        Detector(DetectorConfig(custom=(SLOW,), limits=QUICK)).find(ENDLESS)


def test_a_pattern_that_is_stopped_again_and_again_is_tried_no_more_and_told_every_time() -> None:
    detector = Detector(DetectorConfig(custom=(SLOW,), limits=QUICK))
    reasons = [detector.find_all(ENDLESS).unread[0].reason for _ in range(5)]
    assert reasons == ["took too long"] * 3 + ["was left out"] * 2
    assert detector.find_all("nothing to see").unread[0].detail == "it took too long on 3 texts before"


def test_all_patterns_together_have_one_limit_for_a_text() -> None:
    slow = tuple(CustomRecogniser(name=f"slow {n}", pattern=SLOW.pattern) for n in range(7))
    found = Detector(DetectorConfig(custom=(*slow, NAMES), limits=TOGETHER)).find_all(ENDLESS + " Bluebird")
    assert len(found.unread) == 7
    assert "took all the time" in found.unread[-1].detail
    assert [f.type for f in found.findings] == ["EMAIL_ADDRESS", "CUSTOM"], "a list takes no time worth a limit"


def test_a_long_text_has_more_time() -> None:
    assert QUICK.for_pattern("a") < Limits(pattern_seconds=0.3).for_pattern("a" * 1_000_000) < 3


def test_a_list_of_a_hundred_thousand_is_one_automaton(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("".join(f"name-{n:06}\n\n" for n in range(100_000)), encoding="utf-8")
    (tmp_path / "own.yaml").write_text("recognisers: [{name: names, values_file: names.txt}]", encoding="utf-8")
    detector = Detector.from_file(tmp_path / "own.yaml")
    text = "some words that are none of them " * 30_000 + "name-099999 name-1000000"
    started = time.process_time()
    assert [text[f.start : f.end] for f in detector.find(text)] == ["name-099999"]
    assert time.process_time() - started < 5, "a million characters; as one expression it takes minutes"


def test_every_setting_can_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        """
types: [US_SSN, EMAIL_ADDRESS, PHONE_NUMBER]
min_score: 0.5
phone_regions: [GB]
context: {US_SSN: [fiscal id]}
allow_list: [help@example.com]
limits: {pattern_seconds: 2}
recognisers: [{name: names, values: [Bluebird]}]
""",
        encoding="utf-8",
    )
    detector = Detector.from_file(tmp_path / "own.yaml")
    text = "fiscal id: 900-12-3456, help@example.com, jane@example.com, phone (202) 555-0143 or phone 020 7946 0958"
    assert [(f.type, f.score) for f in detector.find(text)] == [
        ("US_SSN", 0.85),
        ("EMAIL_ADDRESS", 1.0),
        ("PHONE_NUMBER", 0.75),
    ]
    assert detector.config.limits.pattern_seconds == 2
    assert "Bluebird" not in json.dumps(detector.config.settings()) + repr(detector.config)
    assert "help@" not in json.dumps(detector.config.settings()) + repr(detector.config)


def test_a_detector_travels_to_another_process_with_all_it_was_told() -> None:
    detector = Detector(DetectorConfig(types=("US_SSN",), custom=(STAFF,)))
    before = detector.find("S-123456")
    there = pickle.loads(pickle.dumps(detector))
    assert there.find("S-123456") == before
    assert there.config == detector.config


def scan(*arguments: str) -> Any:
    from flows.cli.app import app

    with mock.patch.dict(os.environ), tempfile.TemporaryDirectory() as home:  # what it sets is for its own process
        return CliRunner().invoke(app, ["scan", *arguments, "--home", home])


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
