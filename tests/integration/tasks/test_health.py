"""`revs doctor` finds what keeps an installation from its work, and names what helps."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from registered import REQUEST, Installation, flip_last_bit, strip_signature
from typer.testing import CliRunner

from flows.cli.app import app
from infra.keys.keyfile import add_key, rewrite
from infra.keys.services import key_service
from infra.requests import rows
from infra.settings import Settings, load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import open_store


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prepares the environment of its process, and here that is the one of all tests."""
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)


def doctor(settings: Settings, *, deep: bool = False) -> tuple[dict[str, dict[str, Any]], Exception | None]:
    """What the command prints, by check, and the error it ends with."""
    options = ["--json", "--home", str(settings.home), *(["--deep"] if deep else [])]
    done = CliRunner().invoke(app, ["doctor", *options])
    error = done.exception
    return {each["check"]: each for each in json.loads(done.stdout)}, error if isinstance(error, Exception) else None


def findings(settings: Settings, *, deep: bool = False) -> dict[str, str]:
    """The findings that are not in order, by check."""
    return {name: each["finding"] for name, each in doctor(settings, deep=deep)[0].items() if not each["ok"]}


def no_champion(here: Installation) -> None:
    here.registry._client.delete_registered_model_alias("demo", "champion")


def dangling(here: Installation) -> None:
    """MLflow drops the alias together with the version: a database that was restored or edited need not."""
    here.batch("one", here.checkpoints[1])
    with sqlite3.connect(here.settings.home / "mlflow.db") as database:
        database.execute("UPDATE registered_model_aliases SET version = 9")
    database.close()


def folder_gone(here: Installation) -> None:
    shutil.rmtree(here.registry.download(here.registry.champion("demo")))


def weights_gone(here: Installation) -> None:
    (here.registry.download(here.registry.champion("demo")) / "model.safetensors").unlink()


def tokenizer_gone(here: Installation) -> None:
    (here.registry.download(here.registry.champion("demo")) / "tokenizer.json").unlink()


def shard_gone(here: Installation) -> None:
    folder = here.registry.download(here.registry.champion("demo"))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def moved_back(here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    here.point_champion_to("1")


def moved_to_a_candidate(here: Installation) -> None:
    version, _, _ = here.candidate("one", here.checkpoints[1])
    here.point_champion_to(version.version)


def changed_weights(here: Installation) -> None:
    flip_last_bit(here.registry.download(here.registry.champion("demo")) / "model.safetensors")


def changed_file(here: Installation) -> None:
    (here.registry.download(here.registry.champion("demo")) / "generation_config.json").write_text("{}")


def changed_evidence(here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    for path in (here.settings.home / "artifacts").rglob("evidence.json"):
        path.write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "deep", "named", "remedy"),
    [
        (no_champion, False, "there is no champion", "revs promote models:/demo/1"),
        (dangling, False, "the champion is version 9, which was deleted", "revs promote models:/demo/"),
        (folder_gone, False, "config.json, generation_config.json, model.safetensors, tokenizer.json", "restore them"),
        (weights_gone, False, "are missing in the store (model.safetensors)", "restore them"),
        (tokenizer_gone, False, "are missing in the store (tokenizer.json)", "restore them"),
        (shard_gone, False, "are missing in the store (model-00002-of-00002.safetensors)", "restore them"),
        (moved_back, False, "was moved to version 1 by somebody else", "revs reconcile --restore"),
        (moved_back, False, "lacks what completed batches erased", "revs promote models:/demo/2"),
        (moved_to_a_candidate, False, "was moved to version 2 by somebody else", "revs promote models:/demo/2"),
        (changed_evidence, False, "was changed after it was re", "do not serve it"),
        (changed_weights, True, "the weights of models:/demo/1 changed", "restore the stored files"),
        (changed_file, True, "generation_config.json of models:/demo/1 changed", "restore the stored files"),
    ],
)
def test_what_is_wrong_with_a_model_is_found_and_the_remedy_named(
    spoil: Callable[[Installation], None], deep: bool, named: str, remedy: str, here: Installation
) -> None:
    assert "model demo" not in findings(here.settings)
    spoil(here)
    finding = findings(here.settings, deep=deep)["model demo"]
    assert named in finding and remedy in finding and "\n" not in finding


def test_all_is_in_order_after_a_batch(here: Installation, two_batches: tuple[str, str]) -> None:
    assert findings(here.settings, deep=True) == {}


def test_a_version_without_recorded_files_is_in_order_and_said(here: Installation) -> None:
    strip_signature(here.registry, here.registry.champion("demo"))  # such a version is older than signatures
    here.registry._client.delete_model_version_tag("demo", "1", "revs.files")
    model = doctor(here.settings, deep=True)[0]["model demo"]
    assert model["ok"] and "before files beside the weights were recorded" in model["finding"]


def overdue(here: Installation) -> None:
    here.store.add(REQUEST | {"received": "2020-01-02"}, model="demo")


def for_nobody(here: Installation) -> None:
    here.store.add(REQUEST, model="another")


@pytest.mark.parametrize(
    ("hand_in", "named", "remedy"),
    [
        (overdue, "1 overdue (R-", "revs process"),
        (for_nobody, "1 wait for 'another', which is not registered", "--name"),
    ],
)
def test_requests_that_nobody_will_process_in_time_are_found(
    hand_in: Callable[[Installation], None], named: str, remedy: str, here: Installation
) -> None:
    hand_in(here)
    finding = findings(here.settings)["requests"]
    assert named in finding and remedy in finding


@pytest.mark.parametrize(
    ("zone", "moment", "is_overdue"),
    [
        ("UTC", "2026-12-02T23:30:00+00:00", False),  # the last day, to its end
        ("Europe/Vienna", "2026-12-02T23:30:00+00:00", True),
        ("America/Los_Angeles", "2026-12-03T06:00:00+00:00", False),
        ("UTC", "2026-12-03T06:00:00+00:00", True),
    ],
)
def test_what_is_overdue_is_asked_of_the_day_in_the_installations_zone(
    here: Installation, monkeypatch: pytest.MonkeyPatch, zone: str, moment: str, is_overdue: bool
) -> None:
    here.store.add(REQUEST | {"received": "2026-11-02"}, model="demo")
    monkeypatch.setattr(rows, "now", lambda: datetime.fromisoformat(moment))
    monkeypatch.setenv("REVS_TIME_ZONE", zone)
    assert ("requests" in findings(here.settings)) == is_overdue


def test_a_batch_that_is_open_while_nobody_works_on_it_is_found(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batch_id, _ = here.candidate("one", here.checkpoints[1])
    monkeypatch.setattr(type(here.store), "holder", lambda *_: None, raising=False)
    finding = findings(here.settings)["batches"]
    assert batch_id in finding and "nobody works on it" in finding and f"revs batches abandon {batch_id}" in finding
    monkeypatch.setattr(type(here.store), "holder", lambda *_: "somebody", raising=False)
    assert "batches" not in findings(here.settings)


# Permissions


def others(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o077


def test_what_an_installation_writes_is_its_owners_alone(here: Installation, two_batches: tuple[str, str]) -> None:
    home = here.settings.home
    open_to_others = [path for path in [home, *home.iterdir()] if others(path)]
    assert open_to_others == []
    evidence = list((home / "artifacts").rglob("evidence.json"))
    assert len(evidence) == 2 and not any(others(path) for path in evidence)


def test_what_older_versions_left_open_is_closed_when_settings_are_loaded(here: Installation) -> None:
    names = ["mlflow.db", "requests.db", "artifacts"]
    for name in names:
        (here.settings.home / name).chmod(0o755)
    load_settings()
    assert [others(here.settings.home / name) for name in names] == [0, 0, 0]


def test_a_home_that_was_there_before_and_is_open_is_kept_and_said(here: Installation) -> None:
    here.settings.home.chmod(0o755)
    load_settings()
    finding = findings(here.settings)["permissions"]
    assert f"{here.settings.home} can be read by others than its owner (0755)" in finding
    assert f"chmod 700 {here.settings.home}" in finding


def test_an_evidence_or_a_key_that_others_can_read_is_said(here: Installation, two_batches: tuple[str, str]) -> None:
    here.settings.home.chmod(0o755)
    (evidence, _) = (here.settings.home / "artifacts").rglob("evidence.json")
    evidence.chmod(0o644)
    assert f"1 evidence.json below {here.settings.home / 'artifacts'}" in findings(here.settings)["permissions"]
    here.settings.home.chmod(0o700)
    assert "permissions" not in findings(here.settings)
    here.settings.key_file.chmod(0o640)
    assert f"chmod 600 {here.settings.key_file}" in findings(here.settings)["permissions"]


# The deployment key


def test_where_the_key_comes_from_is_said_and_whether_it_opens(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = doctor(here.settings)[0]["deployment key"]
    assert key["ok"] and key["finding"] == f"from {here.settings.key_file}; it opens"
    (kek := tmp_path / "kek").write_text("A" * 43 + "=")
    kek.chmod(0o600)
    service = f"file://{kek}"
    monkeypatch.setenv("REVS_KEY_SERVICE", service)
    assert "run 'revs keys wrap'" in findings(here.settings)["deployment key"]
    rewrite(here.settings.key_file, key_service(service), wrapped=True)
    add_key(here.settings.key_file, key_service(service))
    key = doctor(here.settings)[0]["deployment key"]
    assert key["ok"]
    assert key["finding"] == f"from {here.settings.key_file}, wrapped by file://…; it opens, and 1 earlier"
    kek.write_text("B" * 42 + "A=")
    finding = findings(here.settings)["deployment key"]
    assert f"line 1 of {here.settings.key_file}: the key-encryption key {kek} does not open it" in finding
    monkeypatch.delenv("REVS_KEY_SERVICE")
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY", kek.read_text())
    assert doctor(here.settings)[0]["deployment key"]["finding"] == "from REVS_DEPLOYMENT_KEY; it opens"
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY_BLOCK", "b")
    assert "unset one of them" in findings(here.settings)["deployment key"]


# Surroundings


@pytest.mark.parametrize("check", ["home", "device"])
def test_settings_that_cannot_be_used_are_a_finding_and_the_other_checks_go_on(
    check: str, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVS_DEVICE", "cuda:7" if check == "device" else "quantum")
    results, _ = doctor(here.settings)
    assert not results[check]["ok"] and "REVS_DEVICE=" in results[check]["finding"]
    assert results["libraries"]["ok"] and results["disk"]["ok"] is (check == "device")


def test_the_device_is_shown_with_the_setting_and_the_dtype(here: Installation) -> None:
    device = doctor(here.settings)[0]["device"]
    assert device["ok"] and "REVS_DEVICE=auto" in device["finding"] and "as stored" in device["finding"]


def test_doctor_ends_with_1_and_names_what_is_not_in_order(here: Installation) -> None:
    assert doctor(here.settings)[1] is None
    no_champion(here)
    error = doctor(here.settings)[1]
    assert isinstance(error, OperationFailed) and error.exit_code == 1
    assert str(error).startswith("not in order: model demo;")


def test_a_due_date_that_is_not_what_the_log_says_is_found(here: Installation) -> None:
    demand = {"subject": "s", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}]}
    (request_id,) = open_store(here.settings).add(demand, model="demo").accepted
    with sqlite3.connect(here.settings.home / "requests.db") as database:
        database.execute("UPDATE requests SET due = '2031-01-01'")
    database.close()
    finding = findings(here.settings)["audit log"]
    assert f"request {request_id}: due is '2031-01-01', and the log says '2026-12-02'" in finding


def test_an_audit_log_that_was_changed_is_found(here: Installation) -> None:
    open_store(here.settings).record("note")
    assert "2 events as they were written" in doctor(here.settings)[0]["audit log"]["finding"]
    with sqlite3.connect(here.settings.home / "requests.db") as database:
        database.execute("DROP TRIGGER events_no_delete")
        database.execute("DELETE FROM events WHERE id = (SELECT max(id) FROM events)")
    database.close()
    finding = findings(here.settings)["audit log"]
    assert "its end was cut off" in finding and "events_no_delete" in finding and "do not rely on it" in finding


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM payloads WHERE number = -1", "is gone, and it still waits|is not the one it was stored with"),
        ("DELETE FROM payloads", "is gone, and it still waits"),
        ("UPDATE payloads SET ciphertext = X'00'", "a sealed payload does not open"),
        ("UPDATE requests SET status = 'withdrawn'", "is withdrawn, and its payload is still there or was put back"),
    ],
)
def test_payloads_that_are_missing_changed_or_back_are_found(here: Installation, statement: str, found: str) -> None:
    here.store.add(REQUEST | {"received": "2026-11-02"}, model="demo")
    assert "request store and key" not in findings(here.settings)
    with closing(sqlite3.connect(here.settings.home / "requests.db")) as connection:
        connection.execute(statement)
        connection.commit()
    assert re.search(found, findings(here.settings)["request store and key"])


@pytest.mark.parametrize(
    ("inbox", "said"),
    [("is gone", "the inbox cannot be read"), ("abc://x", "REVS_INBOX is no folder and no address")],
)
def test_an_inbox_that_cannot_be_read_is_found(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inbox: str, said: str
) -> None:
    monkeypatch.setenv("REVS_INBOX", str(tmp_path / inbox) if " " in inbox else inbox)
    assert said in findings(here.settings)["inbox"]
    (tmp_path / "inbox").mkdir()
    monkeypatch.setenv("REVS_INBOX", str(tmp_path / "inbox"))
    assert "inbox" not in findings(here.settings)
