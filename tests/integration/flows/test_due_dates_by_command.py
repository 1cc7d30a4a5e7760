"""`revs requests due`, `extend`, `acknowledge`, `export-drop` and what `show` says of them."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import Revs, in_process

from infra.keys.vault import Vault
from infra.requests import Clock, RequestStore
from infra.settings import load_settings

TODAY = datetime.now(UTC).date()
SECRET = "219-41"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def revs(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    return in_process(monkeypatch, capsys, SECRET)


def hand_in(number: int, days_ago: int, **changes: Any) -> str:
    settings = load_settings()
    request = {
        "subject": f"customer {number}",
        "received": f"{TODAY - timedelta(days=days_ago)}",
        "identifiers": [{"type": "US_SSN", "value": f"{SECRET}-{number:04d}"}],
    }
    store = RequestStore(settings.requests_url, Vault.from_settings(settings), Clock.of(settings))
    (id_,) = store.add(request | changes, model="demo").accepted
    return id_


def test_a_scheduler_can_alarm_by_the_exit_code(revs: Revs) -> None:
    assert revs("requests", "due").code == 0
    calm, soon = hand_in(1, 1), hand_in(2, 1, due=f"{TODAY + timedelta(days=3)}")
    answer = revs("requests", "due", "--json")
    assert answer.code == 0
    assert [(row["id"], row["state"]) for row in json.loads(answer.out)] == [(soon, "at_risk"), (calm, "on_time")]
    late = hand_in(3, 40)
    for options in ((), ("--at-risk",), ("--overdue", "--json")):
        ended = revs("requests", "due", *options)
        assert ended.code == 3, options
        assert ended.err.startswith(f"error: 1 overdue ({late}): answer them")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], [3, 2, 1]),
        (["--overdue"], [3]),
        (["--at-risk"], [2]),
        (["--overdue", "--at-risk"], [3, 2]),
    ],
)
def test_what_is_shown_is_what_was_asked_for(revs: Revs, options: list[str], shown: list[int]) -> None:
    ids = {
        1: hand_in(1, 1),
        2: hand_in(2, 1, due=f"{TODAY + timedelta(days=3)}"),
        3: hand_in(3, 40),
    }
    found = [row["id"] for row in json.loads(revs("requests", "due", *options, "--json").out)]
    assert found == [ids[number] for number in shown]
    text = revs("requests", "due", *options).out
    assert [id_ in text for id_ in ids.values()] == [number in shown for number in ids]


def test_a_confirmation_that_is_late_alarms_until_it_is_on_record(revs: Revs) -> None:
    id_ = hand_in(1, 20, regime="ccpa")
    assert revs("requests", "due").code == 3
    (row,) = json.loads(revs("requests", "due", "--overdue", "--json").out)
    assert (row["state"], row["acknowledgement"]) == ("on_time", "overdue")
    done = revs("requests", "acknowledge", id_, "R-00000000")
    assert done.code == 2 and done.out == "1 acknowledged\n" and "there is no request R-00000000" in done.err
    assert revs("requests", "due").code == 0
    assert revs("requests", "due", "--overdue", "--json").out == "[]\n"


def test_an_extension_is_put_on_record_with_who_decided(revs: Revs) -> None:
    id_ = hand_in(1, 1, regime="ccpa")
    new = f"{TODAY + timedelta(days=89)}"
    refused = revs("requests", "extend", id_, "--reason", f"{SECRET}-0001 is on every page")
    assert refused.code == 2 and "name one: reasonably_necessary" in refused.err
    assert revs("requests", "extend", id_, "--reason", "reasonably_necessary", "--by", " ").code == 2
    said = revs("requests", "extend", id_, "--reason", "reasonably_necessary")
    assert (said.code, said.out.split(" now;")[0]) == (0, f"{id_} is due on {new}")
    shown = json.loads(revs("requests", "show", id_, "--json").out)
    (event,) = [event for event in shown["events"] if event["event"] == "request.extended"]
    assert event["detail"]["by"] == psutil.Process().username()
    assert (shown["due"], shown["policy"]["due"]) == (new, {"months": 0, "days": 45})
    assert revs("requests", "extend", id_, "--reason", "reasonably_necessary", "--by", "an officer").code == 2
    (row,) = json.loads(revs("requests", "due", "--json").out)
    assert (row["due"], row["days_left"], row["extended"]) == (new, 89, True)


def test_show_says_under_which_law_and_what_was_done_about_its_days(revs: Revs) -> None:
    id_ = hand_in(1, 1, regime="ccpa")
    revs("requests", "extend", id_, "--reason", "reasonably_necessary", "--by", "an officer")
    revs("requests", "acknowledge", id_, "--by", "an officer")
    said = revs("requests", "show", id_).out.partition("history")[0].splitlines()
    lines = {name: value.strip() for name, _, value in (line.partition(" ") for line in said)}
    assert lines["regime"].startswith("ccpa (CCPA: Cal. Civ. Code §§ 1798.105")
    assert lines["regime"].endswith("the business decides")
    assert all(lines[name].startswith("20") for name in ("extended_at", "acknowledged_at", "acknowledge_by"))
    assert "policy" not in lines


def test_the_table_for_the_drop_has_ids_and_dates_alone(revs: Revs) -> None:
    first = hand_in(1, 50, regime="drop")
    second = hand_in(2, 3, regime="drop")
    hand_in(3, 3)
    answer = revs("requests", "export-drop")
    assert answer.code == 0
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert list(rows[0]) == ["id", "received", "due", "closed", "status"]
    assert [(row["id"], row["closed"], row["status"]) for row in rows] == [(first, "", ""), (second, "", "")]
    since = revs("requests", "export-drop", "--since", f"{TODAY - timedelta(days=3)}", "--json")
    assert [row["id"] for row in json.loads(since.out)] == [second]
    for text in ("yesterday", "20261102", "2026-W45-1", "2026-11-2"):
        bad = revs("requests", "export-drop", "--since", text)
        assert bad.code == 2 and f"--since '{text}' is not a date; write it as 2026-11-02" in bad.err


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "REVS_REGIME",
            "hipaa",
            "error: REVS_REGIME=hipaa: is not one of ccpa, days, drop, gdpr; correct",
        ),
        ("REVS_TIME_ZONE", "Vienna", "error: REVS_TIME_ZONE=Vienna: is not the name of a time zone"),
    ],
)
def test_a_bad_setting_ends_every_command_in_one_line(
    revs: Revs, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    for command in (("due",), ("list",), ("export-drop",)):
        ended = revs("requests", *command)
        assert ended.code == 2 and ended.err.startswith(said)
