"""What reports, doctor, flow and command say of versions that lose their bytes."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import IN_A_MONTH, Installation, closed
from typer.testing import CliRunner

from flows.cli.app import app
from infra.registry import weight_digest
from infra.requests import Clock
from infra.settings import Settings
from revs.errors import OperationFailed
from tasks.health.installation import examine
from tasks.stages.retire import retire_due
from tasks.versions.audit import audit_batch
from tasks.versions.retire import Desk, apply


def test_a_report_says_that_the_old_bytes_are_gone_when_they_are_and_no_day_earlier(
    desk: Desk, here: Installation, tmp_path: Path
) -> None:
    example = json.loads((Path(__file__).parents[2] / "cases" / "evidence_example.json").read_text(encoding="utf-8"))
    weights = [here.registry.champion("demo").weights, weight_digest(here.checkpoints[1])]
    model = {"version_before": "1", "weights_before": weights[0], "weights_after": weights[1], "uri_after": None}
    version, batch_id, evidence = here.candidate(
        "one", here.checkpoints[1], **(example | {"model": example["model"] | model | {"retire_on": str(IN_A_MONTH)}})
    )
    now = here.registry.champion("demo")
    here.registry._make_champion(version, instead_of=now, supersedes=now, on=IN_A_MONTH)
    recorded = closed(evidence, version.version) | {"batch": example["batch"]}
    here.store.close_batch(batch_id, status="completed", outcome={"evidence": recorded})

    def report() -> str:
        return Path(audit_batch(here.settings, batch_id, tmp_path / "audit")["report"]).read_text()

    before = report()
    assert f"Their retention period ends on {IN_A_MONTH}" in before and "verified" not in before
    assert "Old bytes to be deleted on or after" in before
    apply(desk)
    after = report()
    assert f"Its stored bytes were deleted, and on {IN_A_MONTH} their absence was verified: no file was left" in after
    assert "Old bytes deleted, absence verified" in after and "until somebody deletes them" not in after
    assert report() == after
    (here.registry.stored_at(here.registry.resolve("models:/demo/1")) or tmp_path).mkdir(parents=True)
    ((here.registry.stored_at(here.registry.resolve("models:/demo/1")) or tmp_path) / "back").write_bytes(b"again")
    assert report() == before


def finding(settings: Settings) -> tuple[bool, str]:
    found = examine(lambda: settings, deep=False)
    return next((each.ok, each.finding) for each in found if each.check == "retention")


def test_the_doctor_warns_of_versions_that_are_past_their_day(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.batch("one", here.checkpoints[1])
    warned, said = finding(here.settings)
    assert not warned and said.startswith("1 past their day (models:/demo/1): 'revs retire' shows them")
    apply(desk)
    assert finding(here.settings) == (True, "nothing is past its day; 0 versions wait for theirs")
    here.batch("two", here.checkpoints[0])
    monkeypatch.setattr(Clock, "today", lambda self: IN_A_MONTH - timedelta(days=9))
    assert finding(here.settings) == (True, "nothing is past its day; 1 versions wait for theirs")


def test_the_flow_does_the_same_and_fails_where_bytes_are_left(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.batch("one", here.checkpoints[1])
    with monkeypatch.context() as patch:
        patch.setattr("infra.registry.removal.remove_path", lambda path: None)
        with pytest.raises(OperationFailed, match="bytes of models:/demo/1 are left"):
            retire_due.fn()
    assert retire_due.fn() == ["models:/demo/1"]


def command(settings: Settings, *words: str) -> Any:
    return CliRunner().invoke(app, ["retire", *words, "--home", str(settings.home)])


def test_the_command_deletes_only_when_it_is_told_to(
    desk: Desk, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    here.batch("one", here.checkpoints[1])
    shown = command(here.settings)
    assert shown.exit_code == 0 and "would go" in shown.stdout and "nothing was deleted" in shown.stdout
    held = command(here.settings, "--hold", "models:/demo/1", "--reason", "case 12", "--by", "A. Officer")
    assert held.stdout == "models:/demo/1 is under legal hold: its bytes stay\n"
    listed = json.loads(command(here.settings, "--json", "--model", "demo").stdout)
    assert [(each["what"], each["goes"]) for each in listed] == [("models:/demo/1", False), ("models:/demo/2", False)]
    command(here.settings, "--release", "models:/demo/1", "--by", "A. Officer")
    with monkeypatch.context() as patch:
        patch.setattr("infra.registry.removal.remove_path", lambda path: None)
        failed = command(here.settings, "--apply")
    assert isinstance(failed.exception, OperationFailed) and failed.exception.exit_code == 1
    ended = json.loads(command(here.settings, "--apply", "--json").stdout)
    assert ended["retired"] == ["models:/demo/1"] and ended["problems"] == []
    assert [each["what"] for each in ended["stays"]] == ["models:/demo/2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hold", "models:/demo/1"], "--hold and --reason go together"),
        (["--reason", "x"], "--hold and --reason go together"),
        (["--apply", "--release", "models:/demo/1"], "--apply, --hold and --release are three things"),
        (["--model", "nobody"], "no model 'nobody' is registered"),
        (["--release", "models:/demo/9"], "model 'demo' has no version 9"),
    ],
)
def test_what_the_command_cannot_use_is_refused_in_one_line(
    words: list[str], said: str, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    assert str(command(here.settings, *words).exception).startswith(said)
