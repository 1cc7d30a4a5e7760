"""JSON as people and programs write it: over many lines, as an array, several objects in a row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.requests.clock import Clock
from infra.requests.intake import parse_requests
from infra.requests.records import Entry

IDENTIFIERS = [{"type": "US_SSN", "value": "219-41-5522"}, {"type": "EMAIL_ADDRESS", "value": "zz@example.com"}]
GOOD: dict[str, Any] = {"subject": "customer 17", "received": "2026-11-02", "identifiers": IDENTIFIERS}
OTHER = GOOD | {"subject": "customer 18"}
BAD = GOOD | {"received": "Zorblatt"}
ONE, TWO = json.dumps(GOOD), json.dumps(OTHER)


def parse(text: str, name: str = "r.json") -> list[Entry]:
    return parse_requests(text.encode(), name=name, model="demo", clock=Clock())


BOTH = ["customer 17", "customer 18"]


READ = [
    ("one object over many lines", json.dumps(GOOD, indent=2), ["customer 17"]),
    ("with tabs and carriage returns", json.dumps(GOOD, indent="\t").replace("\n", "\r\n"), ["customer 17"]),
    ("two objects over many lines", f"{json.dumps(GOOD, indent=2)}\n\n{json.dumps(OTHER, indent=1)}\n", BOTH),
    ("with commas between them", f"{json.dumps(GOOD, indent=2)},\n{json.dumps(OTHER, indent=1)}", BOTH),
    ("one a line before one over many", f"{ONE}\n{json.dumps(OTHER, indent=2)}", BOTH),
    ("one over many before one a line", f"{json.dumps(GOOD, indent=2)}\n{TWO}", BOTH),
    ("an array on one line", json.dumps([GOOD, OTHER]), BOTH),
    ("an array over many lines", json.dumps([GOOD, OTHER], indent=4), BOTH),
    ("an array of one a line", f"[\n{ONE},\n{TWO}\n]", BOTH),
    ("a brace in a value", json.dumps(GOOD | {"subject": "customer } { 17"}, indent=2), ["customer } { 17"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "subjects"), [row[1:] for row in READ], ids=[row[0] for row in READ])
@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "-"])
def test_json_is_read_however_its_lines_are_broken(text: str, subjects: list[str], name: str) -> None:
    entries = parse(text, name)
    assert [entry.demand and entry.demand.subject for entry in entries] == subjects
    assert len({entry.line for entry in entries}) == len(entries), "a line is one request's, in the store as well"


SPOILT = [
    ("in an array, by its number", json.dumps([GOOD, BAD, OTHER], indent=2), "item 2: received"),
    ("not an object", json.dumps([GOOD, "Zorblatt", OTHER]), "item 2: is not a JSON object"),
    ("a field twice", f'[{ONE}, {{"subject": "a", "subject": "b"}}, {TWO}]', "item 2: has a field twice"),
    ("over many lines, by its first", f"{ONE}\n{json.dumps(BAD, indent=2)}\n{TWO}", "line 2: received"),
    ("cut off between good lines", f"{ONE}\n{ONE[:-9]}\n{TWO}", "line 2: is not JSON"),
]


@pytest.mark.parametrize(("text", "reason"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_bad_request_spoils_itself_only_however_its_lines_are_broken(text: str, reason: str) -> None:
    first, bad, last = parse(text)
    assert first.demand and last.demand
    assert bad.reason is not None and str(bad.reason).startswith(reason)
    assert "Zorblatt" not in str(bad.reason)


def test_a_request_for_a_model_that_is_not_registered_is_set_aside_with_those_that_are() -> None:
    lines = "\n".join(json.dumps(GOOD | {"model": model}) for model in ("demo", "support-bot", "Zorblatt"))
    taken = parse_requests(lines.encode(), name="r.jsonl", model="demo", clock=Clock(), models=["support-bot", "demo"])
    assert [entry.reason and str(entry.reason) for entry in taken] == [
        None,
        None,
        "line 3: model is not one of those that are registered; name one of these: demo, support-bot",
    ]


def test_no_half_of_a_row_with_a_line_break_in_it_is_a_request_of_its_own() -> None:
    header = "subject,received,type,value"
    text = f'{header}\n"line\nbreak",2026-11-02,US_SSN,219-41-5522\ncustomer 18,2026-11-02,US_SSN,219-41-5522\n'
    entries = parse(text, "r.csv")
    assert [entry.demand and entry.demand.subject for entry in entries] == [None, None, "customer 18"]
    quoted = parse(f'{header}\n"a ""b"", c",2026-11-02,US_SSN,219-41-5522\n', "r.csv")
    assert [entry.demand and entry.demand.subject for entry in quoted] == ['a "b", c']
