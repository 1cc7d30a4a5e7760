"""`revs rollback`: back to the version before, not to what was erased unless somebody says why, and forward again."""

from __future__ import annotations

from typing import Any

import pytest
from registered import REQUEST, Installation, Killed, flip_last_bit
from typer.testing import CliRunner

from flows.cli.app import app
from revs.errors import BadInput, GateRefused, OperationFailed, RevsError
from tasks.stages.requests import open_batch
from tasks.versions.promote import declare_new_root, promote_version
from tasks.versions.registering import register_model
from tasks.versions.rollback import roll_back


@pytest.fixture
def retrained(here: Installation) -> str:
    """Version 2, trained without what was erased, is champion instead of version 1; nothing was erased yet."""
    version = register_model(here.settings, here.checkpoints[1], name="demo", corpus="corpus.txt", tags={})
    declare_new_root(here.settings, version.uri, approved_by="A. Officer")
    return version.uri


def back(here: Installation, uri: str, reason: str | None = None) -> dict[str, Any]:
    return roll_back(here.settings, uri, approved_by="A. Officer", reason=reason)


def served(here: Installation) -> tuple[str, str | None]:
    previous = here.registry.previous("demo")
    return here.registry.champion("demo").version, None if previous is None else previous.version


def test_a_promotion_leaves_what_was_champion_as_previous(here: Installation, two_batches: tuple[str, str]) -> None:
    assert served(here) == ("3", "2")


def test_the_version_before_is_champion_again_and_the_one_taken_back_can_be_promoted_again(
    here: Installation, retrained: str
) -> None:
    assert back(here, retrained)["champion"] == "1"
    assert served(here) == ("1", "2")
    assert "revs.retire_on" not in here.registry.champion("demo").tags, "it serves: it is not to be retired"
    assert here.registry.resolve(retrained).tags["revs.status"] == "rolled back"
    (event,) = here.store.events(event="version.rolled_back")
    assert event.detail == {
        "version": "models:/demo/1", "instead_of": retrained, "approved_by": "A. Officer", "reason": None, "lacks": [],
    }  # fmt: skip
    assert promote_version(here.settings, retrained, approved_by="A. Officer")["champion"] == "2"
    assert served(here) == ("2", "1")


def test_a_second_call_for_the_same_version_changes_nothing(here: Installation, retrained: str) -> None:
    for _ in range(2):
        back(here, retrained)
        assert served(here) == ("1", "2")
    assert len(here.store.events(event="version.rolled_back")) == 1


def test_a_version_that_holds_what_was_erased_comes_back_only_with_a_reason_on_record(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    with pytest.raises(GateRefused, match=f"models:/demo/2 still holds what was erased by {two_batches[1]}"):
        back(here, "models:/demo/3")
    assert served(here) == ("3", "2")
    assert back(here, "models:/demo/3", "answers are garbled, see ticket 7")["lacks"] == [two_batches[1]]
    assert served(here) == ("2", "3")
    (event,) = here.store.events(event="version.rolled_back")
    assert (event.detail["reason"], event.detail["lacks"]) == ("answers are garbled, see ticket 7", [two_batches[1]])
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    with pytest.raises(GateRefused, match="revs promote models:/demo/3"):  # no batch is built on what holds it
        open_batch.fn("demo")
    assert promote_version(here.settings, "models:/demo/3", approved_by=None)["champion"] == "3"
    assert open_batch.fn("demo") is not None


@pytest.mark.parametrize(
    ("uri", "reason", "error", "said"),
    [
        ("models:/demo/2", None, BadInput, "models:/demo/2 is not the champion of 'demo', version 3 is"),
        ("models:/demo/9", None, BadInput, "model 'demo' has no version 9"),
        ("models:/other/1", None, BadInput, "no model 'other' is registered"),
        ("models:/demo/3", " ", BadInput, "the reason is not usable"),
        ("models:/demo/3", "two\nlines", BadInput, "the reason is not usable"),
        ("models:/demo/3", "x" * 201, BadInput, "the reason is not usable"),
        ("models:/demo/3", "wren@example.com asked", BadInput, "looks like EMAIL_ADDRESS"),
    ],
)
def test_what_cannot_be_rolled_back_is_said_in_a_line_and_changes_nothing(
    uri: str, reason: str | None, error: type[RevsError], said: str, here: Installation, two_batches: tuple[str, str]
) -> None:
    with pytest.raises(error) as refusal:
        back(here, uri, reason)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)
    assert served(here) == ("3", "2")


def test_a_first_version_has_none_before_it(here: Installation) -> None:
    with pytest.raises(BadInput, match="no version before it to go back to"):
        back(here, "models:/demo/1")


def test_an_alias_set_by_hand_makes_no_version_the_one_before(here: Installation, two_batches: tuple[str, str]) -> None:
    candidate, _, _ = here.candidate("three", here.checkpoints[1])
    here.registry._client.set_registered_model_alias("demo", "previous", candidate.version)
    with pytest.raises(GateRefused, match="does not say that models:/demo/4 ever served"):
        back(here, "models:/demo/3", "because")
    assert here.registry.champion("demo").version == "3"


def test_a_version_whose_weights_changed_does_not_come_back(here: Installation, retrained: str) -> None:
    flip_last_bit(here.registry.download(here.registry.resolve("models:/demo/1")) / "model.safetensors")
    with pytest.raises(OperationFailed, match="the weights of models:/demo/1 changed"):
        back(here, retrained)
    assert served(here) == ("2", "1")


@pytest.mark.parametrize(
    ("step", "calls"),
    [
        ("set_registered_model_alias", 1), ("set_registered_model_alias", 2), ("set_model_version_tag", 1),
        ("set_model_version_tag", 2), ("update_model_version", 1),
    ],
)  # fmt: skip
def test_killed_between_any_two_steps_the_same_command_finishes(
    step: str, calls: int, here: Installation, retrained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    work, seen = getattr(MlflowClient, step), []

    def killed(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments)
        if len(seen) == calls:
            raise Killed
        return work(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, killed)
        with pytest.raises(Killed):
            back(here, retrained)
    back(here, retrained)
    assert served(here) == ("1", "2")
    assert here.registry.resolve(retrained).tags["revs.status"] == "rolled back"
    assert here.registry.champion("demo").tags["revs.status"] == "champion"
    assert len(here.store.events(event="version.rolled_back")) == 1


def test_the_command_says_what_serves_and_exits_3_where_erased_data_would_come_back(
    here: Installation, two_batches: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)

    def revs(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["rollback", "models:/demo/3", "--approved-by", "A. Officer", *arguments])

    assert isinstance(revs().exception, GateRefused)
    assert isinstance(revs("--force").exception, BadInput) and isinstance(revs("--reason", "x").exception, BadInput)
    done = revs("--force", "--reason", "answers are garbled")
    assert done.exit_code == 0
    assert "version 2 of demo is champion, version 3 is previous" in done.stdout
    assert f"it still holds what was erased by {two_batches[1]}" in done.stdout
