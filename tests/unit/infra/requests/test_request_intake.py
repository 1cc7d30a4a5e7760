from __future__ import annotations

import io
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.requests.clock import Clock
from infra.requests.intake import parse_requests, read_source
from infra.requests.records import IDENTIFIER_TYPES, Demand, Entry, Identifier
from revs.errors import BadInput

SSN = {"type": "US_SSN", "value": "219-41-5522"}
GOOD: dict[str, Any] = {"subject": "customer 17", "received": "2026-11-02", "identifiers": [SSN]}
VALUES = {
    "EMAIL_ADDRESS": "zorblatt@example.com",
    "US_SSN": "219-41-5522",
    "PHONE_NUMBER": "+1 212 555 0143",
    "URL": "https://example.com/zorblatt",
    "CREDIT_CARD": "4111 1111 1111 1111",
    "IBAN_CODE": "DE89 3704 0044 0532 0130 00",
    "IP_ADDRESS": "192.0.2.17",
}
HEADER = "subject,received,due,model,type,value\n"
LEAKS = ("219-41", "5522", "Zorblatt", "customer 17", "zz@example.com")


def parse(data: bytes | str, *, name: str = "r.jsonl") -> list[Entry]:
    raw = data.encode() if isinstance(data, str) else data
    return parse_requests(raw, name=name, model="demo", clock=Clock())


def demand(data: bytes | str, *, name: str = "r.jsonl") -> Demand:
    (entry,) = parse(data, name=name)
    assert entry.demand is not None, entry.reason
    return entry.demand


def changed(**changes: Any) -> str:
    return json.dumps({name: value for name, value in (GOOD | changes).items() if value != "ABSENT"})


def test_a_request_is_taken_as_written() -> None:
    found = demand(changed(due="2026-11-20", model="other-1.5_b"))
    assert (found.subject, found.received, found.due) == ("customer 17", date(2026, 11, 2), date(2026, 11, 20))
    assert found.model == "other-1.5_b"
    assert found.identifiers == (Identifier(type="US_SSN", value="219-41-5522"),)


def test_a_request_without_due_date_and_model_gets_the_defaults() -> None:
    found = demand(changed())
    assert (found.due, found.model) == (date(2026, 12, 2), "demo")


@pytest.mark.parametrize(
    ("clock", "changes", "regime", "due"),
    [
        (Clock(), {}, "gdpr", date(2026, 2, 28)),
        (Clock(), {"regime": "ccpa"}, "ccpa", date(2026, 3, 17)),
        (Clock(), {"regime": " CCPA "}, "ccpa", date(2026, 3, 17)),
        (Clock(), {"regime": None}, "gdpr", date(2026, 2, 28)),
        (Clock(), {"regime": "ccpa", "due": "2026-02-01"}, "ccpa", date(2026, 2, 1)),  # its own date still wins
        (Clock(), {"due": "2027-02-01"}, "gdpr", date(2027, 2, 1)),
        (Clock(regime="drop"), {}, "drop", date(2026, 3, 17)),
        (Clock(regime="days", days=10), {}, "days", date(2026, 2, 10)),
        (Clock(regime="days", days=10), {"regime": "gdpr"}, "gdpr", date(2026, 2, 28)),
        (Clock(), {"regime": "days"}, "days", date(2026, 3, 2)),
    ],
)
def test_the_due_date_is_the_requests_own_or_that_of_its_regime_or_of_the_installations(
    clock: Clock, changes: dict[str, Any], regime: str, due: date
) -> None:
    line = changed(received="2026-01-31", **changes).encode()
    (entry,) = parse_requests(line, name="r.jsonl", model="demo", clock=clock)
    assert entry.demand is not None, entry.reason
    assert (entry.demand.regime.id, entry.demand.due) == (regime, due)


def test_a_table_names_the_regime_of_each_request() -> None:
    table = "subject,received,regime,type,value\n"
    rows = ["ccpa,US_SSN,219-41-5522", "ccpa,US_SSN,219-41-5523", ",US_SSN,219-41-5524"]
    table += "\n".join(f"customer {n},2026-11-02,{row}" for n, row in zip((17, 17, 18), rows, strict=True))
    found = [entry.demand for entry in parse(table, name="r.csv")]
    assert [(item.regime.id, len(item.identifiers)) for item in found if item] == [("ccpa", 2), ("gdpr", 1)]


def test_rows_of_one_request_that_name_two_regimes_are_set_aside_and_a_bad_name_too() -> None:
    table = "subject,received,regime,type,value\n"
    table += "customer 17,2026-11-02,ccpa,US_SSN,219-41-5522\ncustomer 17,2026-11-02,,US_SSN,219-41-5523\n"
    table += "customer 18,2026-11-02,Zorblatt,US_SSN,219-41-5524\n"
    assert [entry.reason and str(entry.reason) for entry in parse(table, name="r.csv")] == [
        "line 3: regime differs from line 2, which is the same request",
        "line 4: regime is not one of ccpa, days, drop, gdpr",
    ]


@pytest.mark.parametrize("kind", IDENTIFIER_TYPES)
def test_every_type_is_taken(kind: str) -> None:
    value = VALUES.get(kind, "Zorblatt 9")
    assert demand(changed(identifiers=[{"type": kind, "value": value}])).identifiers[0].type == kind


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (changed(received="Zorblatt"), "received is missing or not a date such as 2026-11-02"),
        (changed(received="ABSENT"), "received is missing or not a date such as 2026-11-02"),
        (changed(received="20261102"), "received is missing or not a date such as 2026-11-02"),  # ISO, but ambiguous
        (changed(received="2026-11-02T10:00:00Z"), "received is missing or not a date such as 2026-11-02"),
        (changed(received="2026-02-31"), "received is missing or not a date such as 2026-11-02"),  # no such day
        (changed(received="٢٠٢٦-١١-٠٢"), "received is missing or not a date such as 2026-11-02"),  # not ASCII digits
        (changed(received=20261102), "received is missing or not a date such as 2026-11-02"),
        (changed(received="9999-12-31"), "received is too far in the future"),
        (changed(due="219-41-5522"), "due is missing or not a date such as 2026-11-02"),
        (changed(due=""), "due is missing or not a date such as 2026-11-02"),  # a lost deadline is no default
        (changed(due="2026-11-01"), "due is before received"),
        (changed(received="9999-12-31", due="9999-12-31"), "received is too far in the future"),
        (changed(regime="Zorblatt"), "regime is not one of ccpa, days, drop, gdpr"),
        (changed(regime=""), "regime is not one of ccpa, days, drop, gdpr"),
        (changed(regime=["gdpr"]), "regime is not one of ccpa, days, drop, gdpr"),
        (changed(subject="  "), "subject is missing or not a text with a letter or digit"),
        (changed(subject=17), "subject is missing or not a text with a letter or digit"),
        (changed(subject="\ud83d Zorblatt"), "subject is not valid Unicode text"),
        (changed(subject="Zorblatt" * 200), "subject is longer than 1000 characters"),
        (changed(identifiers="ABSENT"), "identifiers is missing or not a list with at least one identifier"),
        (changed(identifiers=[]), "identifiers is missing or not a list with at least one identifier"),
        (changed(identifiers=SSN), "identifiers is missing or not a list with at least one identifier"),
        (changed(identifiers=[SSN, "219-41-5522"]), "identifiers[1] is not an object with type and value"),
        (changed(identifiers=[SSN | {"note": "Zorblatt"}]), "identifiers[0] is not an object with type and value"),
        (changed(identifiers=[{"type": "219-41-5522", "value": "US_SSN"}]), "identifiers[0].type is not one of EMAIL_"),
        (changed(identifiers=[{"type": ["US_SSN"], "value": "1"}]), "identifiers[0].type is not one of EMAIL_ADDRESS"),
        (changed(identifiers=[SSN | {"value": 219415522}]), "identifiers[0].value is missing or not a text"),
        (changed(identifiers=[SSN | {"value": "---"}]), "identifiers[0].value is missing or not a text"),
        (changed(identifiers=[SSN | {"value": "\u200b"}]), "identifiers[0].value is missing or not a text"),
        (changed(model=""), "model is not a model name"),
        (changed(model="219-41-5522"), "model is not a model name"),  # a value in the wrong field
        (changed(model="zz@example.com"), "model is not a model name"),
        (changed(model="Zorblatt", identifiers=[{"type": "PERSON", "value": "Zorblatt"}]), "model is not a model name"),
        (changed(deu="2026-11-03"), "has a field that is not one of subject"),  # a typo must not lose the deadline
        (changed(**{"219-41-5522": 1}), "has a field that is not one of subject"),
        ('{"subject": "Zorblatt", "subject": "customer 17"}', "has a field twice"),
        ('{"subject": "Zorblatt"', "is not JSON"),
        ("219-41-5522", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' * 100_000, "is not JSON"),  # deeper than Python recurses
        ('"Zorblatt"', "is not a JSON object"),
        ('{"subject": ' + "9" * 5000 + "}", "is not JSON"),  # longer than Python converts
    ],
)
def test_a_malformed_line_is_set_aside_with_a_reason_that_shows_no_value(line: str, reason: str) -> None:
    first, entry, last = parse(f"{changed()}\n{line}\n{changed()}")
    assert entry.demand is None
    assert entry.reason is not None
    assert str(entry.reason).startswith("line 2: " + reason)
    assert not any(leak in f"{entry.reason} {entry!r}" for leak in LEAKS)
    assert entry.raw == line.encode()
    assert first.demand == last.demand is not None


def test_blank_lines_are_skipped_and_lines_keep_their_numbers() -> None:
    entries = parse(f"\n  \n{changed()}\r\n\n{{}}\n\n")
    assert [entry.line for entry in entries] == [3, 5]
    assert entries[1].reason is not None
    assert str(entries[1].reason).startswith("line 5: received")


def test_broken_utf8_spoils_its_own_line_only() -> None:
    entries = parse(changed().encode() + b'\n{"subject": "\xff\xfe Zorblatt"}\n' + changed().encode())
    assert [entry.reason and str(entry.reason) for entry in entries] == [None, "line 2: is not UTF-8 text", None]


def test_a_line_separator_inside_a_value_does_not_end_the_line() -> None:
    text = json.dumps(GOOD | {"subject": "customer\u2028 17\x0b\x1c"}, ensure_ascii=False).encode()
    assert len(parse(text)) == 1


def test_a_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert demand(b"\xef\xbb\xbf" + changed().encode()) == demand(changed())
    assert demand(b"\xef\xbb\xbf" + f"{HEADER}customer 17,2026-11-02,,,US_SSN,219-41-5522".encode(), name="r.csv")


def test_no_repr_shows_a_value() -> None:
    (entry,) = parse(changed())
    assert not any(leak in repr(entry) for leak in LEAKS)


@given(st.text(max_size=40) | st.binary(max_size=40))
def test_no_line_whatever_it_holds_breaks_the_file(line: str | bytes) -> None:
    raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
    entries = parse(b"{}\n" + raw + b"\n" + changed().encode())
    assert entries[-1].demand is not None


@given(st.text(max_size=40))
def test_no_row_whatever_it_holds_breaks_the_table(line: str) -> None:
    raw = f"{HEADER}{line}\ncustomer 17,2026-11-02,,,US_SSN,219-41-5522".encode("utf-8", "surrogatepass")
    assert any(entry.demand for entry in parse(raw, name="r.csv"))


# ---- CSV


def test_rows_of_one_subject_day_and_model_are_one_request() -> None:
    entries = parse(
        HEADER
        + "customer 17,2026-11-02,2026-11-20,,US_SSN,219-41-5522\n"
        + "customer 18,2026-11-02,,,US_SSN,219-41-5533\n"
        + '"customer 17",2026-11-02,2026-11-20,demo,EMAIL_ADDRESS,"zz@example.com"\n'
        + "customer 17,2026-11-02,2026-11-20,other,US_SSN,219-41-5522\n",
        name="r.csv",
    )
    found = [entry.demand for entry in entries]
    assert all(found)
    assert [(item.subject, item.model, len(item.identifiers)) for item in found if item] == [
        ("customer 17", "demo", 2),
        ("customer 18", "demo", 1),
        ("customer 17", "other", 1),
    ]
    assert entries[0].raw.count(b"customer 17") == 2


@pytest.mark.parametrize(
    "table",
    [
        HEADER + "customer 17,2026-11-02,,,US_SSN,219-41-5522",
        "value;type;received;subject\r\n219-41-5522;US_SSN;2026-11-02;customer 17\r\n",  # what Excel writes in Europe
        "Subject\tReceived\tType\tValue\ncustomer 17\t2026-11-02\tUS_SSN\t219-41-5522\n\n",
        HEADER[:-1] + ",,\n customer 17 , 2026-11-02 ,,,US_SSN,219-41-5522,,\n,,,,,,,\n",  # trailing empty columns
    ],
)
@pytest.mark.parametrize("name", ["-", "r.csv", "requests.txt"])
def test_csv_and_json_lines_of_the_same_request_are_the_same_demand(table: str, name: str) -> None:
    assert demand(table, name=name) == demand(changed())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["customer 17,Zorblatt,,,US_SSN,219-41-5522"], "line 2: received is missing or not a date such as 2026-11-02"),
        (["customer 17,2026-11-02,Zorblatt,,US_SSN,219-41-5522"], "line 2: due is missing or not a date"),
        (["customer 17,2026-11-02,,,Zorblatt,219-41-5522"], "line 2: type is not one of EMAIL_ADDRESS"),
        (["customer 17,2026-11-02,,,US_SSN,"], "line 2: value is missing or not a text with a letter or digit"),
        (["customer 17,2026-11-02,,,US_SSN"], "line 2: does not have the 6 columns of the header"),
        (["customer 17,2026-11-02,,,US_SSN,219-41-5522,x"], "line 2: does not have the 6 columns of the header"),
        (['customer 17,2026-11-02,,,US_SSN,"219-41-5522'], "line 2: is not a CSV row"),
        (['customer 17,2026-11-02,,,US_SSN,"219"-41-5522'], "line 2: is not a CSV row"),
        (["customer 17,2026-11-02,,219-41-5522,US_SSN,219-41-5522"], "line 2: model is not a model name"),
        (
            ["customer 17,2026-11-02,,,US_SSN,219-41-5522", "customer 17,2026-11-02,,,Zorblatt,219-41-5533"],
            "line 3: type is not one of EMAIL_ADDRESS",  # a part of a demand is not the demand
        ),
        (
            [
                "customer 17,2026-11-02,2026-11-20,,US_SSN,219-41-5522",
                "customer 17,2026-11-02,,,EMAIL_ADDRESS,zz@example.com",
            ],
            "line 3: due differs from line 2, which is the same request",
        ),
    ],
)
def test_a_malformed_row_is_set_aside_and_the_rows_around_it_are_taken(rows: list[str], reason: str) -> None:
    table = HEADER + "\n".join([*rows, "customer 18,2026-11-02,,,US_SSN,219-41-5544"])
    entry, good = parse(table, name="r.csv")
    assert entry.demand is None
    assert entry.reason is not None
    assert str(entry.reason).startswith(reason)
    assert not any(leak in f"{entry.reason} {entry!r}" for leak in LEAKS)
    assert good.demand is not None


def test_broken_utf8_in_a_table_spoils_its_own_row_only() -> None:
    rows = b"Zorbl\xfftt,2026-11-02,,,US_SSN,219-41-5522\ncustomer 18,2026-11-02,,,US_SSN,219-41-5544"
    bad, good = parse(HEADER.encode() + rows, name="r.csv")
    assert str(bad.reason) == "line 2: is not UTF-8 text"
    assert good.demand is not None


# ---- files as a whole


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"", "r.jsonl", "holds no deletion request"),
        (b"\n \r\n\t\n", "r.jsonl", "holds no deletion request"),
        (b"\xef\xbb\xbf", "r.jsonl", "holds no deletion request"),
        (HEADER.encode(), "r.csv", "holds no deletion request below its header"),
        (HEADER.encode() + b",,,,,\n", "r.csv", "holds no deletion request below its header"),
        (b"customer 17,2026-11-02,,,US_SSN,219-41-5522", "r.csv", "is not the CSV header"),
        (b"subject,received,due,type,value,note\n", "r.csv", "is not the CSV header"),
        (b"subject,received,type,value,value\n", "r.csv", "is not the CSV header"),
        (b"[]", "r.json", "is an empty JSON array"),
        (f"[{changed()},".encode(), "r.json", "is not JSON from line 1 on; mend it there"),
        (json.dumps(GOOD, indent=2)[:-1].encode(), "r.json", "is not JSON from line 9 on; mend it there"),
        (json.dumps([GOOD], indent=2).replace(",", "", 1).encode(), "r.json", "is not JSON from line 4 on"),
        (changed().encode("utf-16"), "r.jsonl", "is UTF-16"),
        (changed().encode("utf-16-le"), "r.jsonl", "is UTF-16"),  # without a mark
        (b"PK\x03\x04 Zorblatt", "r.csv", "is a packed file or a spreadsheet"),
        (b"{}\n" * 50_001, "r.jsonl", "holds more than 50,000 requests; split it"),
        (f"{changed(model=[f'm{n}' for n in range(100)])}\n".encode() * 501, "r.jsonl", "holds more than 50,000"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_name_and_without_its_content(
    data: bytes, name: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        parse(data, name=name)
    assert name in str(caught.value)
    assert not any(leak in str(caught.value) for leak in LEAKS)


def test_a_missing_file_and_a_folder_are_refused_with_their_path(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadInput, match="cannot be read") as caught:
            read_source(path)
        assert str(path) in str(caught.value)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff bytes as they are")))
    assert read_source("-") == b"\xff bytes as they are"


# ---- the same demand


def demand_of(*pairs: tuple[str, str], subject: str = "customer 17", model: str = "demo") -> Demand:
    identifiers = [{"type": kind, "value": value} for kind, value in pairs]
    return demand(changed(subject=subject, model=model, identifiers=identifiers))


SAME = [
    ([("US_SSN", "219-41-5522")], [("US_SSN", "219415522")]),
    ([("EMAIL_ADDRESS", "Zz@Example.com")], [("EMAIL_ADDRESS", "zz@example.com")]),
    ([("PHONE_NUMBER", "+1 (212) 555-0143")], [("PHONE_NUMBER", "+12125550143")]),
    ([("CREDIT_CARD", "4012 8888 8888 1881")], [("CREDIT_CARD", "4012888888881881")]),
    ([("IBAN_CODE", "gb33 bukb 2020 1555 5555 55")], [("IBAN_CODE", "GB33BUKB20201555555555")]),
    ([("PERSON", "Ann  Zorblatt")], [("PERSON", "Ann Zorblatt")]),
    ([("US_SSN", "\uff12\uff11\uff19-41-5522")], [("US_SSN", "219-41-5522")]),  # full-width digits
    ([("US_SSN", "219-41-5522"), ("URL", "example.com/z")], [("URL", "example.com/z"), ("US_SSN", "219-41-5522")]),
    ([("US_SSN", "219-41-5522"), ("US_SSN", "219 41 5522")], [("US_SSN", "219-41-5522")]),
]
DIFFERENT = [
    ([("US_SSN", "219-41-5522")], [("US_SSN", "219-41-5523")]),
    ([("US_SSN", "219415522")], [("PHONE_NUMBER", "219415522")]),
    ([("PHONE_NUMBER", "+12125550143")], [("PHONE_NUMBER", "12125550143")]),  # may be another country
    ([("URL", "example.com/Z")], [("URL", "example.com/z")]),  # paths know case
    ([("PERSON", "ANN ZORBLATT")], [("PERSON", "Ann Zorblatt")]),  # the first is sought in capitals alone
    ([("CUSTOM", "PIN-1")], [("CUSTOM", "PIN1")]),
    ([("US_SSN", "219-41-5522"), ("URL", "example.com/z")], [("US_SSN", "219-41-5522")]),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_the_same_demand_are_the_same(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    assert demand_of(*one).canonical() == demand_of(*other).canonical()


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_demands_stay_different(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    assert demand_of(*one).canonical() != demand_of(*other).canonical()


def test_the_subject_and_the_model_are_part_of_the_demand() -> None:
    pair = ("US_SSN", "219-41-5522")
    both = {str(demand_of(pair, subject=s, model=m).canonical()) for s in ("a", "b") for m in ("demo", "other")}
    assert len(both) == 4


def test_an_identifier_named_twice_is_kept_once_as_first_written() -> None:
    found = demand_of(("US_SSN", "219 41 5522"), ("URL", "example.com/z"), ("US_SSN", "219-41-5522"))
    assert [identifier.value for identifier in found.identifiers] == ["219 41 5522", "example.com/z"]
