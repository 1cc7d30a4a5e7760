"""Which versions lose their bytes and which stay, and that those that go are gone everywhere."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import IN_A_MONTH, REQUEST, Installation, closed

from infra.requests import Clock
from revs.errors import BadInput
from tasks.versions.registering import register_model
from tasks.versions.retire import Desk, Retired, apply, hold, plan, release

TODAY = datetime.now(UTC).date()


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """Sets which day it is."""
    return lambda day: monkeypatch.setattr(Clock, "today", lambda self: day)


def would_go(desk: Desk) -> set[str]:
    return {each.what for each in plan(desk) if each.goes}


def why(desk: Desk, what: str = "models:/demo/1") -> str:
    return next(each.why for each in plan(desk) if each.what == what)


def tag(here: Installation, version: str, **tags: str) -> None:
    """What anybody can do with the MLflow client."""
    for name, value in tags.items():
        here.registry._client.set_model_version_tag("demo", version, f"revs.{name}", value)


def alias(here: Installation, name: str, version: str) -> None:
    here.registry._client.set_registered_model_alias("demo", name, version)


def events(here: Installation) -> list[str]:
    return [each.event for each in here.store.events() if each.event.startswith("version.retir")]


def test_a_superseded_version_goes_when_its_day_has_come_and_its_successor_stays(
    desk: Desk, here: Installation, two_batches: tuple[str, str], on: Callable[[date], None]
) -> None:
    on(IN_A_MONTH - timedelta(days=2))
    assert would_go(desk) == set() and "its period ends on" in why(desk)
    on(IN_A_MONTH)
    assert would_go(desk) == {"models:/demo/1", "models:/demo/2"}
    assert why(desk, "models:/demo/3") == "alias champion names it"
    before = here.registry.stored_files(here.registry.resolve("models:/demo/1"))
    assert before and events(here) == []  # planning deletes nothing
    assert apply(desk) == Retired(retired=("models:/demo/1", "models:/demo/2"), problems=())
    assert events(here) == ["version.retiring", "version.retired"] * 2
    old = here.registry.resolve("models:/demo/1")
    assert (old.tags["revs.status"], old.tags["revs.retired_on"]) == ("retired", IN_A_MONTH.isoformat())
    assert not here.registry.stored_files(old)
    assert here.registry.download(here.registry.champion("demo")).is_dir()
    assert apply(desk) == Retired(retired=(), problems=()) and len(events(here)) == 4


def aliased(here: Installation, desk: Desk) -> str:
    alias(here, "frozen", "1")
    return "alias frozen names it, and its period ended on .*: remove the alias, or put the version under legal hold"


def under_legal_hold(here: Installation, desk: Desk) -> str:
    assert hold(desk, "models:/demo/1", reason="case 12", by="A. Officer") == "models:/demo/1"
    tag(here, "1", status="superseded", held="no")  # says nothing of a hold
    return "it is under legal hold since .*, by A. Officer: case 12"


def source_of_an_open_batch(here: Installation, desk: Desk) -> str:
    here.point_champion_to("1")
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    batch = here.store.open_batch(model="demo", corpus="c", source="models:/demo/1")
    assert batch is not None
    here.point_champion_to("2")
    return f"batch {batch.id}, which is open, was made from it"


def with_a_later_day_in_its_tag(here: Installation, desk: Desk) -> str:
    tag(here, "1", retire_on="2999-01-01")
    return r"its period ends on 2999-01-01 by its tag 'revs.retire_on', and by the record on .*: put that day back"


def with_a_tag_that_is_no_day(here: Installation, desk: Desk) -> str:
    tag(here, "1", retire_on="soon")
    return "its tag 'revs.retire_on' is 'soon', which is no date: correct it"


def whose_files_serve_under_another_name(here: Installation, desk: Desk) -> str:
    client, own = here.registry._client, here.registry.resolve("models:/demo/1")
    client.create_registered_model("copy")
    client.create_model_version("copy", source=own.source, run_id=own.run_id)
    return "its files are those of models:/copy/1 as well, which stays: nobody replaced it, and no batch made it"


def whose_files_another_entry_lies_in(here: Installation, desk: Desk) -> str:
    client, own = here.registry._client, here.registry.resolve("models:/demo/1")
    client.create_registered_model("copy")
    client.create_model_version("copy", source=f"{own.source}/model", run_id=own.run_id)
    return "its files are those of models:/copy/1 as well"


def hard_linked_to_one_that_serves(here: Installation, desk: Desk) -> str:
    old, new = (here.registry.download(here.registry.resolve(f"models:/demo/{number}")) for number in "12")
    (new / "model.safetensors").unlink()
    os.link(old / "model.safetensors", new / "model.safetensors")
    return "its files are hard links to those of models:/demo/2, which stays"


def hard_linked_elsewhere(here: Installation, desk: Desk) -> str:
    folder = here.registry.download(here.registry.resolve("models:/demo/1"))
    os.link(folder / "model.safetensors", here.settings.home / "a-copy")
    return r"1 of its files have another name elsewhere \(hard links\)"


@pytest.mark.parametrize(
    "spare",
    [
        aliased,
        under_legal_hold,
        source_of_an_open_batch,
        with_a_later_day_in_its_tag,
        with_a_tag_that_is_no_day,
        whose_files_serve_under_another_name,
        whose_files_another_entry_lies_in,
        hard_linked_to_one_that_serves,
        hard_linked_elsewhere,
    ],
)
def test_a_superseded_version_stays_whatever_its_day(
    spare: Callable[[Installation, Desk], str], desk: Desk, here: Installation
) -> None:
    here.batch("one", here.checkpoints[1])
    reason = spare(here, desk)
    assert re.match(reason, why(desk)), why(desk)
    done = apply(desk)
    assert done.retired == ()
    told = spare not in (under_legal_hold, source_of_an_open_batch)  # which are on record; the rest is anybody's doing
    assert any(each.startswith("models:/demo/1 stays although its day has come") for each in done.problems) == told
    assert (here.registry.stored_at(here.registry.resolve("models:/demo/1")) or Path()).is_dir()
    assert events(here) == []


@pytest.mark.parametrize("evidence_says", [None, (IN_A_MONTH + timedelta(days=60)).isoformat()])
def test_an_early_day_in_a_tag_does_not_shorten_what_the_record_promised(
    evidence_says: str | None, desk: Desk, here: Installation, on: Callable[[date], None]
) -> None:
    version, batch_id, evidence = here.candidate("one", here.checkpoints[1])
    here.registry.promote(version, expected_champion=here.registry.champion("demo"))
    outcome = {"evidence": closed(evidence, version.version)}
    outcome["evidence"]["model"]["retire_on"] = evidence_says
    here.store.close_batch(batch_id, status="completed", outcome=outcome)
    tag(here, "1", retire_on="2020-01-01")
    if evidence_says is None:
        on(IN_A_MONTH - timedelta(days=2))
    said = "its period ends on .* by the record; its tag says 2020-01-01, which shortens nothing"
    assert re.match(said, why(desk)) and apply(desk).retired == ()


@pytest.mark.parametrize("forged", [{"retire_on": "2020-01-01"}, {"status": "superseded"}, {"status": "retired"}])
@pytest.mark.parametrize("moved", [False, True])
def test_tags_and_an_alias_that_were_set_by_hand_delete_no_champion(
    moved: bool, forged: dict[str, str], desk: Desk, here: Installation
) -> None:
    here.batch("one", here.checkpoints[1])
    tag(here, "2", retire_on="2020-01-01", superseded_by="1")
    tag(here, "2", **forged)
    if moved:
        here.point_champion_to("1")
    apply(desk)
    assert here.registry.stored_files(here.registry.resolve("models:/demo/2"))
    expected = "it is the champion by the log: the alias was moved by hand" if moved else "alias champion names it"
    assert why(desk, "models:/demo/2") == expected


@pytest.mark.parametrize("batch_tag", [False, True])
def test_no_tag_deletes_a_base_that_the_record_does_not_know_to_be_replaced(
    batch_tag: bool, desk: Desk, here: Installation
) -> None:
    _, batch_id, _ = here.candidate("one", here.checkpoints[1])
    here.store.close_batch(batch_id, status="abandoned", outcome={})
    here.point_champion_to("2")
    tag(here, "1", status="superseded", retire_on="2020-01-01", superseded_by="2")
    if batch_tag:
        tag(here, "1", batch_id=batch_id)
    assert "it is the champion by the log: the alias was moved by hand" in why(desk) and apply(desk).retired == ()


def test_a_base_of_which_other_files_were_mended_goes_by_its_tag_as_its_weights_stay(
    desk: Desk, here: Installation, tmp_path: Path
) -> None:
    folder = shutil.copytree(here.checkpoints[0], tmp_path / "mended")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    register_model(here.settings, folder, name="demo", corpus="corpus.txt", tags={})
    assert "; copies of the same weights stay as models:/demo/2" in why(desk)
    assert apply(desk).retired == ("models:/demo/1",)


def test_a_number_that_a_restored_registry_gives_again_is_another_version(
    desk: Desk, here: Installation, on: Callable[[date], None]
) -> None:
    version, batch_id, _ = here.candidate("one", here.checkpoints[1])
    here.store.close_batch(batch_id, status="abandoned", outcome={})
    assert apply(desk).retired == (version.uri,)
    with closing(sqlite3.connect(here.settings.home / "mlflow.db")) as database, database:
        for table in ("model_version_tags", "model_versions"):
            database.execute(f"DELETE FROM {table} WHERE version = 2")
    again, batch_id, _ = here.candidate("two", here.checkpoints[1])
    here.store.close_batch(batch_id, status="abandoned", outcome={})
    assert again.uri == version.uri
    on(TODAY + timedelta(days=5))
    assert "its period ends on" in why(desk, again.uri) and apply(desk).retired == ()
    assert here.registry.stored_files(again)


def test_an_entry_that_names_a_foreign_folder_deletes_nothing_there(
    desk: Desk, here: Installation, tmp_path: Path
) -> None:
    here.batch("one", here.checkpoints[1])
    foreign = shutil.copytree(here.checkpoints[0], tmp_path / "payroll")
    own = here.registry.resolve("models:/demo/1")
    made = here.registry._client.create_model_version("demo", source=foreign.as_uri(), run_id=own.run_id)
    tag(here, str(made.version), status="superseded", retire_on="2020-01-01", weights=str(own.weights))
    assert apply(desk).retired == ("models:/demo/1",)
    assert len(list(foreign.iterdir())) == len(list(here.checkpoints[0].iterdir()))


@pytest.mark.parametrize(
    ("status", "goes"), [("abandoned", True), ("refused", True), ("failed", True), ("waiting", False), (None, False)]
)
def test_a_candidate_goes_when_its_batch_is_closed_and_waits_for_nobody(
    status: Any, goes: bool, desk: Desk, here: Installation, on: Callable[[date], None]
) -> None:
    version, batch_id, evidence = here.candidate("one", here.checkpoints[1])
    if status is not None:
        outcome = {"evidence": closed(evidence, version.version)} if status in ("refused", "waiting") else {}
        here.store.close_batch(batch_id, status=status, outcome=outcome)
    assert would_go(desk) == ({version.uri} if goes else set())
    assert batch_id in why(desk, version.uri)
    on(TODAY + timedelta(days=28))
    assert would_go(desk) == set()


def test_the_alias_previous_protects_until_the_day_has_come_and_goes_first(
    desk: Desk, here: Installation, on: Callable[[date], None]
) -> None:
    here.batch("one", here.checkpoints[1])
    alias(here, "previous", "1")
    on(TODAY + timedelta(days=10))
    assert would_go(desk) == set()
    on(IN_A_MONTH)
    assert apply(desk).retired == ("models:/demo/1",)
    assert here.registry._client.get_registered_model("demo").aliases.keys() == {"champion"}


def test_a_hold_ends_by_a_release_on_record_alone(desk: Desk, here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    hold(desk, "models:/demo/1", reason="case 12", by="A. Officer")
    assert would_go(desk) == set()
    release(desk, "models:/demo/1", by="B. Counsel")
    assert would_go(desk) == {"models:/demo/1"}
    run = here.registry.resolve("models:/demo/1").run_id
    said = [
        (each.event, each.detail) for each in here.store.events() if each.event in ("version.held", "version.released")
    ]
    assert said == [
        ("version.held", {"version": "models:/demo/1", "run": run, "reason": "case 12", "by": "A. Officer"}),
        ("version.released", {"version": "models:/demo/1", "by": "B. Counsel"}),
    ]
    with pytest.raises(BadInput, match="models:/demo/1 is under no legal hold"):
        release(desk, "models:/demo/1", by="B. Counsel")
    apply(desk)
    with pytest.raises(BadInput, match=f"models:/demo/1 was retired on {IN_A_MONTH}: there is nothing left to hold"):
        hold(desk, "models:/demo/1", reason="case 12", by="A. Officer")


def test_a_hold_follows_the_files_to_another_number_and_outlives_its_entry(desk: Desk, here: Installation) -> None:
    here.batch("one", here.checkpoints[1])
    hold(desk, "models:/demo/1", reason="case 12", by="A. Officer")
    old, client = here.registry.resolve("models:/demo/1"), here.registry._client
    client.create_model_version("demo", source=old.source, run_id=old.run_id)
    client.delete_model_version("demo", "1")
    tag(here, "3", status="superseded", retire_on="2020-01-01")
    assert why(desk, "models:/demo/3").endswith(", as models:/demo/1, by A. Officer: case 12")
    client.delete_model_version("demo", "3")
    client.update_run(old.run_id, status="RUNNING")
    (left,) = [each for each in plan(desk) if each.run_id is not None]
    assert not left.goes and "under legal hold" in left.why
    assert release(desk, "models:/demo/1", by="A. Officer") == "models:/demo/1"
    (left,) = [each for each in plan(desk) if each.run_id is not None]
    assert not left.goes and "may be a whole version whose entry was deleted by hand" in left.why


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "two\nlines", "wren@example.com asked"])
def test_a_hold_needs_a_reason_on_one_line_that_names_nobody(reason: str, desk: Desk) -> None:
    with pytest.raises(BadInput, match=r"the reason (is not usable|holds what looks like EMAIL_ADDRESS)"):
        hold(desk, "models:/demo/1", reason=reason, by="A. Officer")


def test_an_alias_that_is_set_between_the_plan_and_the_deletion_protects(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.batch("one", here.checkpoints[1])
    planned = plan(desk)
    monkeypatch.setattr("tasks.versions.retire.plan", lambda *_: planned)
    alias(here, "frozen", "1")
    assert apply(desk) == Retired(retired=(), problems=())
    assert here.registry.stored_files(here.registry.resolve("models:/demo/1"))
