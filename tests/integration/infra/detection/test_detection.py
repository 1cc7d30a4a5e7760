from __future__ import annotations

import logging
import logging.config
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from infra.detection import DEFAULT_TYPES, Detector, DetectorConfig
from revs.errors import BadInput


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise AssertionError("the network was touched")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


FOUND = [
    ("Jane Roe, SSN 219-41-5522.", "US_SSN", "219-41-5522", 0.85),
    ("no context 219-41-5522", "US_SSN", "219-41-5522", 0.5),
    ("her social security number 219415522", "US_SSN", "219415522", 0.4),
    ("write to Jane.Roe@example.com.", "EMAIL_ADDRESS", "Jane.Roe@example.com", 1.0),
    ("call (202) 555-0143", "PHONE_NUMBER", "(202) 555-0143", 0.75),
    ("phone +44 20 7946 0958", "PHONE_NUMBER", "+44 20 7946 0958", 0.75),
    ("reach +49 30 901820 today", "PHONE_NUMBER", "+49 30 901820", 0.75),
    ("at https://example.com/jane now", "URL", "https://example.com/jane", 0.6),
    ("card 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111", 1.0),
    ("IBAN DE89 3704 0044 0532 0130 00", "IBAN_CODE", "DE89 3704 0044 0532 0130 00", 1.0),
    ("from 192.0.2.17 on", "IP_ADDRESS", "192.0.2.17", 0.6),
    ("from 2001:db8::17 on", "IP_ADDRESS", "2001:db8::17", 0.6),
]
NOT_FOUND = [
    ("The weather was fine all week.", "ordinary text"),
    ("order 219415522", "nine digits without context"),
    ("SSN 000-12-3456", "an area that does not exist"),
    ("card 4111 1111 1111 1112", "a checksum that is wrong"),
    ("see chapter 3.2 and page 17", "small numbers"),
    ("", "nothing"),
]


@pytest.mark.parametrize(("text", "type_", "written", "score"), FOUND, ids=[f"{r[1]} {i}" for i, r in enumerate(FOUND)])
def test_personal_data_is_found_with_its_place_and_score(
    detector: Detector, text: str, type_: str, written: str, score: float
) -> None:
    start = text.index(written)
    found = {(f.type, f.start, f.end): f.score for f in detector.find(text)}
    assert found[type_, start, start + len(written)] == pytest.approx(score)


@pytest.mark.parametrize(("text", "why"), NOT_FOUND, ids=[row[1] for row in NOT_FOUND])
def test_what_is_no_personal_data_is_left_alone(detector: Detector, text: str, why: str) -> None:
    assert detector.find(text) == []


def test_findings_come_in_order_and_the_domain_of_an_address_is_no_url(detector: Detector) -> None:
    found = detector.find("jane@example.com, SSN 219-41-5522, jane@example.org")
    assert [finding.type for finding in found] == ["EMAIL_ADDRESS", "US_SSN", "EMAIL_ADDRESS"]


def test_a_detector_looks_for_its_types_alone() -> None:
    found = Detector(DetectorConfig(types=("US_SSN", "US_SSN"))).find("jane@example.com, SSN 219-41-5522")
    assert [finding.type for finding in found] == ["US_SSN"]


def test_the_least_score_is_adjustable() -> None:
    text = "no context 219-41-5522"
    assert Detector(DetectorConfig(types=("US_SSN",), min_score=0.5)).find(text)
    assert not Detector(DetectorConfig(types=("US_SSN",), min_score=0.51)).find(text)


@pytest.mark.parametrize("types", [["PERSON"], ["CUSTOM", "US_SSN"], ["ssn"], []])
def test_a_type_that_cannot_be_detected_is_refused_with_the_ones_that_can(types: list[str]) -> None:
    with pytest.raises(
        BadInput, match=r"cannot detect these types: (PERSON|CUSTOM|ssn|none); choose from EMAIL_ADDRESS"
    ):
        Detector(DetectorConfig(types=tuple(types)))


def test_no_log_record_holds_text_at_any_level(detector: Detector, caplog: pytest.LogCaptureFixture) -> None:
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "root": {"level": "DEBUG"}})
    root, handler = logging.getLogger(), caplog.handler
    if handler not in root.handlers:  # dictConfig took it away
        root.addHandler(handler)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="presidio-analyzer"):
        for text, *_ in FOUND:
            detector.find(text)
        detector.find("IBAN XX89 3704 0044 0532 0130 00")
        # the line by which Presidio quotes an IBAN that it failed to validate
        logging.getLogger("presidio-analyzer").error("Failed to validate text %s", "DE89 3704")
        logging.getLogger("infra").info("this one is kept")
    assert [record.getMessage() for record in caplog.records] == ["this one is kept"]


OFFLINE = """
import socket
def refuse(*args, **options):
    raise AssertionError("the network was touched")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = socket.getaddrinfo = refuse
import logging
logging.basicConfig(level=logging.DEBUG)
from infra.detection import Detector
found = Detector().find("jane.roe@example.com, phone +1 202 555 0143")
assert [f.type for f in found] == ["EMAIL_ADDRESS", "PHONE_NUMBER"]
"""


def test_a_fresh_process_detects_without_network_without_cache_and_without_a_word(tmp_path: Path) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment |= {"TLDEXTRACT_CACHE": str(tmp_path / "tld"), "PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-B", "-W", "error", "-c", OFFLINE]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "jane" not in done.stdout + done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_every_default_type_has_a_row_above() -> None:
    assert {row[1] for row in FOUND} == set(DEFAULT_TYPES)
