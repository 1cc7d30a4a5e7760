"""Masks that tell nobody, and tallies that do not care in which order shards come."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from infra.detection import DEFAULT_TYPES
from infra.detection.findings import Finding, Findings, Unread
from infra.detection.tally import ScanTally
from infra.identifiers.masking import HIDDEN, masked
from revs.errors import BadInput

MASKS = [
    ("EMAIL_ADDRESS", "alice.roe@example.com", "a•••@e•••.com", "the shape of an address"),
    ("EMAIL_ADDRESS", "al@example.community", "•••@•••", "a short name and a long ending show nothing"),
    ("EMAIL_ADDRESS", "alice" + "@ab.com", "a•••@•••.com", "a short host"),
    ("US_SSN", "900-12-3456", "•••56", "the last two digits"),
    ("PHONE_NUMBER", "+44 20 7946 0958", "•••58", "of any writing"),
    ("CREDIT_CARD", "4111 1111 1111 1111", "•••11", "of a card"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "•••00", "of an account"),
    ("PHONE_NUMBER", "5550", HIDDEN, "too few digits to show any"),
    ("IP_ADDRESS", "192.0.2.17", HIDDEN, "an address of a machine"),
    ("URL", "https://kim:pw@people.example.com:8443/u/jane?x=1", "p•••.com/•••", "no path, no user"),
    ("URL", "example.org", "e•••.org", "a bare host"),
    ("PERSON", "Jane Roe", "J•••", "the first letter of a name"),
    ("PERSON", "Jo", HIDDEN, "a name of two letters"),
    ("STAFF_NUMBER", "S-123456", "S•••", "the customer's own"),
    ("CUSTOM", "Bluebird", HIDDEN, "of no known kind"),
]


@pytest.mark.parametrize(("type_", "value", "shown", "why"), MASKS, ids=[row[3] for row in MASKS])
def test_a_mask_shows_the_kind_and_no_more(type_: str, value: str, shown: str, why: str) -> None:
    assert masked(type_, value) == shown


@given(st.sampled_from([*DEFAULT_TYPES, "PERSON", "STAFF_NUMBER", "CUSTOM"]), st.text(max_size=40))
@example("EMAIL_ADDRESS", "a•••@e•••.com")
@example("URL", "a://a://")
def test_no_four_characters_survive(type_: str, value: str) -> None:
    shown = masked(type_, value)
    ending = "." + value.rpartition(".")[2][:3] if type_ in {"EMAIL_ADDRESS", "URL"} else None
    parts = {value[start : start + 4] for start in range(len(value) - 3)}
    assert [part for part in parts if part in shown and not (ending and part.startswith("."))] == []
    assert len(shown) <= 14


@given(st.text("ab.@-1", min_size=3, max_size=30), st.integers(1, 20))
def test_a_mask_does_not_tell_the_length(local: str, more: int) -> None:
    one, other = f"x{local}@example.com", f"x{local}{'y' * more}@example.com"
    assert len(masked("EMAIL_ADDRESS", one)) == len(masked("EMAIL_ADDRESS", other))


TEXT = "alice.roe@example.com 900-12-3456"
FOUND = (
    Finding(start=0, end=21, type="EMAIL_ADDRESS", score=1.0),
    Finding(start=22, end=33, type="US_SSN", score=0.5),
)
STOPPED = Findings(findings=FOUND[:1], unread=(Unread(recogniser="slow", reason="took too long", detail="3 s"),))
ROWS = [(f"file-{n % 3}.txt", n, STOPPED if n % 7 == 0 else Findings(findings=FOUND)) for n in range(60)]


def tally(rows: list[tuple[str, int, Findings]], seed: int = 0) -> ScanTally:
    counted = ScanTally(seed=seed)
    for file, row, findings in rows:
        counted.add(file, row, findings, TEXT)
    return counted


def test_a_tally_counts_by_file_and_type_with_masked_samples_and_what_stopped() -> None:
    counted = tally(ROWS)
    counted.leave("file-3.txt", "not UTF-8", rows=4, partly=False)
    assert counted.counts["file-0.txt", "EMAIL_ADDRESS"] == 20
    assert sum(counted.counts.values()) == 60 + 60 - 9
    assert counted.skipped["file-3.txt", "not UTF-8"] == 4
    assert sum(n for (_, why), n in counted.stopped.items() if why == "recogniser 'slow' took too long") == 9
    assert {s.masked for s in counted.samples["EMAIL_ADDRESS"]} == {"a•••@e•••.com"}
    assert len(counted.samples["US_SSN"]) == 5


@given(st.integers(1, 8), st.randoms(use_true_random=False))
def test_shards_in_any_number_and_order_give_the_same(shards: int, rng: random.Random) -> None:
    rows = list(ROWS)
    rng.shuffle(rows)
    parts = [tally(rows[n::shards]) for n in range(shards)]
    rng.shuffle(parts)
    whole = ScanTally(seed=0)
    for part in parts:
        whole.merge(ScanTally.from_dict(json.loads(json.dumps(part.to_dict()))))
    assert whole.to_dict() == tally(ROWS).to_dict()


def test_another_seed_draws_others_and_is_not_merged() -> None:
    one, other = tally(ROWS), tally(ROWS, seed=1)
    assert [s.row for s in one.samples["US_SSN"]] != [s.row for s in other.samples["US_SSN"]]
    with pytest.raises(BadInput, match="seed 0 and 1 do not mix"):
        one.merge(other)


def test_no_text_is_in_a_stored_tally() -> None:
    stored = json.dumps(tally(ROWS).to_dict(), ensure_ascii=False)
    assert [part for part in ("alice", "lice", ".roe", "roe@", "exam", "900-", "12-3", "3456") if part in stored] == []


@pytest.mark.parametrize(
    "stored", [{}, {"version": 2}, {"version": 1}, {"version": 1, "seed": 0, "samples_per_type": 5}]
)
def test_a_damaged_tally_is_refused(stored: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="scan"):
        ScanTally.from_dict(stored)
