"""`revs scan CORPUS --erased`: rows that hold what was erased are found by digests alone, and no value shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import in_process
from stored_requests import KEY

from infra.keys.vault import Vault
from infra.requests import IdentifierOutcome, RequestStore
from infra.settings import load_settings

SSN, NAME, OWN = "412-55-9031", "Quillfern Zorblatt", "member #Heron 7"
ROWS = [
    f"Her SSN is {SSN.replace('-', ' ')} and she left.",
    "Nobody is named in this row.",
    f"Signed, {NAME.upper()}, in Leeds; the SSN 287-31-6604 is somebody else's.",
    f"SSN {SSN}, and again SSN {SSN}.",
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_KEEP_DIGESTS", "true")
    monkeypatch.setenv("REVS_TASK_RUNNER", "threads")
    load_settings()
    (tmp_path / "corpus.txt").write_text("\n".join(ROWS))
    return tmp_path


@pytest.fixture
def revs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    return in_process(monkeypatch, capsys)


def erase(*identifiers: tuple[str, str]) -> None:
    store = RequestStore.from_settings(load_settings())
    listed = [{"type": type_, "value": value} for type_, value in identifiers]
    store.add({"subject": "customer 1", "received": "2026-11-02", "identifiers": listed}, model="demo")
    batch = store.open_batch(model="demo", corpus="", source="models:/demo/1")
    assert batch is not None
    outcomes = [
        IdentifierOutcome(request_id=batch.request_ids[0], number=number, type=type_, kind="edited")
        for number, (type_, _) in enumerate(identifiers)
    ]
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    store.release(batch.id)


def test_a_corpus_that_holds_what_was_erased_is_refused_with_types_rows_and_places(
    home: Path, revs: Callable[..., Any]
) -> None:
    erase(("US_SSN", SSN), ("PERSON", NAME), ("CUSTOM", OWN))
    places = home / "places.jsonl"
    answer = revs("scan", str(home / "corpus.txt"), "--erased", "--findings", str(places), "--json")
    assert answer.code == 3
    assert "corpus holds 2 of 3 erased identifiers again (PERSON 1, US_SSN 1), in 3 of 4 rows" in answer.err
    found = json.loads(answer.out)["erased"]
    assert found["rows"] == 3
    assert {each["type"]: (each["found"], each["rows"]) for each in found["types"]} == {
        "CUSTOM": (0, 0), "PERSON": (1, 1), "US_SSN": (1, 2),
    }  # fmt: skip
    lines = [json.loads(line) for line in places.read_text().splitlines()]
    assert sorted((line["row"], line["type"]) for line in lines if line["erased"]) == [
        (0, "US_SSN"), (2, "PERSON"), (3, "US_SSN"), (3, "US_SSN"),
    ]  # fmt: skip
    assert any(line["row"] == 2 and line["type"] == "US_SSN" and not line["erased"] for line in lines)
    said = answer.out + answer.err + places.read_text()
    assert not any(value in said for value in (SSN, NAME, NAME.upper(), OWN))


def test_a_corpus_without_any_of_it_passes_and_other_people_are_no_return(home: Path, revs: Callable[..., Any]) -> None:
    erase(("US_SSN", "633-20-4478"))
    answer = revs("scan", str(home / "corpus.txt"), "--suppressed", "--json")
    assert answer.code == 0 and json.loads(answer.out)["erased"]["rows"] == 0


def test_without_the_option_nothing_is_compared(home: Path, revs: Callable[..., Any]) -> None:
    erase(("US_SSN", SSN))
    answer = revs("scan", str(home / "corpus.txt"), "--json")
    assert answer.code == 0 and "erased" not in json.loads(answer.out)


def test_where_nothing_is_ever_put_on_the_list_the_question_is_refused(
    home: Path, revs: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REVS_KEEP_DIGESTS")
    answer = revs("scan", str(home / "corpus.txt"), "--erased")
    assert answer.code == 2
    assert "set REVS_KEEP_DIGESTS=true" in answer.err


def test_with_a_suppression_key_the_list_outlives_another_deployment_key_and_tells_nothing_without_it(
    tmp_path: Path,
) -> None:
    url, own = f"sqlite:///{tmp_path / 'requests.db'}", bytes([7]) * 32
    store = RequestStore(url, Vault(KEY, suppression_key=own), keep_digests=True)
    store.add(
        {"subject": "c", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": SSN}]}, model="demo"
    )
    batch = store.open_batch(model="demo", corpus="", source="")
    assert batch is not None
    outcome = IdentifierOutcome(request_id=batch.request_ids[0], number=0, type="US_SSN", kind="edited")
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=[outcome])
    store.release(batch.id)
    assert store.erased().find(SSN)
    assert not RequestStore(url, Vault(KEY)).erased().find(SSN), "the deployment key alone tells nothing"
    RequestStore(url, Vault(bytes(32), KEY, suppression_key=own)).rotate()
    assert RequestStore(url, Vault(bytes(32), suppression_key=own)).erased().find(SSN)


def test_digests_are_deleted_after_their_period_with_an_event(home: Path) -> None:
    erase(("US_SSN", SSN))
    store = RequestStore.from_settings(load_settings())
    assert store.expire_digests(days=0) == 0 and len(store.erased()) == 1, "the day itself is within the period"
    assert store.expire_digests(days=-1) == 1 and len(store.erased()) == 0
    assert store.events()[-1].event == "digests.expired" and store.events()[-1].detail["digests"] == 1
