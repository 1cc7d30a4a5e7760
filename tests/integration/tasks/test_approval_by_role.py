"""Where a role approves: what a name, a token of another kind, and an approval that counts no more leave as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import Installation, waiting
from typer.testing import CliRunner

from flows.cli.app import app
from infra.requests import rows
from infra.requests.approvals import APPROVED, Approvals
from infra.requests.tokens import Token, Tokens
from infra.settings import Settings
from revs.errors import BadInput, GateRefused, OperationFailed, RevsError
from tasks.stages.promote import promote_what_was_approved
from tasks.versions.approval import approved_on_record
from tasks.versions.promote import declare_new_root, promote_version
from tasks.versions.rollback import roll_back
from tasks.versions.waiting import promote_approved

ANOTHER = [{"type": "EMAIL_ADDRESS", "value": "robin@example.com"}]


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.versions.audit.write_report", lambda _, folder: folder / "report.html")


@pytest.fixture
def officers(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The installation, where officers approve."""
    monkeypatch.setenv("REVS_APPROVER_ROLE", "officer")
    return here.settings.model_copy(update={"approver_role": "officer"})


def token(here: Installation, name: str = "A. Officer", role: str = "officer") -> tuple[Token, str]:
    return Tokens(here.store).add(role=role, name=name, by="a test")


def unusable(here: Installation, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str | None, str | None, str]]:
    """Name and token of approvals that must not count, with what is said."""
    revoked, of_revoked = token(here, "R. Officer")
    Tokens(here.store).revoke(revoked.id, by="a test")
    _, of_good = token(here, "G. Officer")
    with monkeypatch.context() as patch:
        patch.setattr(rows, "now", lambda: datetime.now(UTC) - timedelta(days=400))
        expired, of_expired = token(here, "E. Officer")
    return {
        "a name alone": (
            "A. Officer",
            None,
            "a name alone is no token of it: nothing was changed; put one in REVS_APP",
        ),
        "unknown": (None, "revs_" + "A" * 43, "is none of this installation"),
        "no token": (None, "A. Officer", "is none of this installation"),
        "operator": (None, token(here, "O. Perator", "operator")[1], "has the role operator, and officer approves"),
        "revoked": (None, of_revoked, f"token {revoked.id} was revoked on"),
        "expired": (None, of_expired, f"token {expired.id} expired on"),
        "somebody else's": ("A. Officer", of_good, "give --approved-by 'G. Officer'"),
    }


def test_who_may_not_approve_changes_nothing_whatever_takes_a_name(
    officers: Settings, here: Installation, two_batches: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = here.registry.register_base(here.checkpoints[0], name="demo", corpus="other.txt")
    version, batch_id = waiting(here, identifiers=ANOTHER)
    takes: list[Callable[..., Any]] = [
        lambda **by: promote_version(officers, version.uri, **by),
        lambda **by: declare_new_root(officers, base.uri, **by),
        lambda **by: roll_back(officers, "models:/demo/3", reason="garbled", **by),
    ]
    cases = unusable(here, monkeypatch)
    before = len(here.store.events())
    for name, secret, said in cases.values():
        for act in takes:
            with pytest.raises(GateRefused) as refusal:
                act(approved_by=name, token=secret)
            assert said in str(refusal.value) and "nothing was changed" in str(refusal.value)
            assert "\n" not in str(refusal.value) and "revs_" not in str(refusal.value)
    assert here.registry.champion("demo").version == "3" and here.store.batch(batch_id).status == "waiting"
    assert len(here.store.events()) == before


def test_the_holder_of_a_token_of_the_role_stands_in_the_event_with_its_id(
    officers: Settings, here: Installation, two_batches: tuple[str, str]
) -> None:
    held, secret = token(here)
    with_token = officers.model_copy(update={"approver_token": secret_of(secret)})
    roll_back(with_token, "models:/demo/3", approved_by="A. Officer", reason="garbled")
    version, _ = waiting(here, identifiers=ANOTHER)
    with pytest.raises(GateRefused, match=r"insufficient evidence|lacks what completed"):
        promote_version(with_token, version.uri, approved_by=None)  # that a token lies there approves nothing
    promote_version(officers, "models:/demo/3", approved_by=None, token=secret)
    said = [event.detail for event in here.store.events() if event.detail.get("token") == held.id]
    said = [each for each in said if "version" in each]
    assert [each["version"] for each in said] == ["models:/demo/2", "models:/demo/3"]
    assert all((each["approved_by"], each["role"]) == ("A. Officer", "officer") for each in said)


def secret_of(text: str) -> Any:
    from pydantic import SecretStr

    return SecretStr(text)


def test_without_a_role_a_token_is_refused_and_a_name_is_enough(here: Installation) -> None:
    version, _ = waiting(here)
    with pytest.raises(BadInput, match="REVS_APPROVER_ROLE is not set, so a token approves nothing here"):
        promote_version(here.settings, version.uri, approved_by=None, token=token(here)[1])
    assert promote_version(here.settings, version.uri, approved_by="A. Officer")["champion"] == "2"


def approvals(settings: Settings, here: Installation) -> Approvals:
    return Approvals(here.store, role=settings.approver_role, days=settings.approval_days)


def approve(settings: Settings, here: Installation, who: Token) -> None:
    (candidate,) = approvals(settings, here).candidates()
    approvals(settings, here).approve(who, candidate.batch_id, version=candidate.version, weights=candidate.weights)


def test_what_was_approved_over_the_service_is_promoted_once_and_completes_its_batch(
    officers: Settings, here: Installation
) -> None:
    version, batch_id = waiting(here)
    assert promote_what_was_approved.fn(None) == []
    (pending,) = promote_approved(officers)
    assert pending.state == "pending" and "a token of the role officer" in pending.said
    who, _ = token(here)
    for _ in range(2):
        approve(officers, here, who)
    assert len(here.store.events(event=APPROVED)) == 1
    assert promote_what_was_approved.fn("another") == []
    assert promote_what_was_approved.fn(None) == [version.uri]
    assert promote_what_was_approved.fn(None) == [] == promote_approved(officers)
    assert here.registry.champion("demo").version == "2"
    (said,) = [event.detail for event in here.store.events(batch_id=batch_id, event="version.promoted")]
    assert said == {"version": version.uri, "approved_by": "A. Officer", "token": who.id, "role": "officer"}
    assert here.store.batch(batch_id).outcome["evidence"]["approval"]["by"] == "A. Officer"


def test_an_approval_is_of_one_version_and_not_of_a_copy_that_bears_its_tags(
    officers: Settings, here: Installation
) -> None:
    version, batch_id = waiting(here)
    approve(officers, here, token(here)[0])
    batch, copy = here.store.batch(batch_id), replace(version, version="3", uri="models:/demo/3")
    assert approved_on_record(officers, here.store, version, batch) is not None
    assert approved_on_record(officers, here.store, copy, batch) is None


def revoke(here: Installation, who: Token, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    Tokens(here.store).revoke(who.id, by="a test")
    return settings


def let_it_expire(here: Installation, who: Token, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(rows, "now", lambda: datetime.now(UTC) + timedelta(days=366))
    return settings.model_copy(update={"approval_days": 3650})


def give_another_role(here: Installation, who: Token, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return settings.model_copy(update={"approver_role": "auditor"})


def put_other_weights(here: Installation, who: Token, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    here.registry._client.set_model_version_tag("demo", "2", "revs.weights", "sha256:" + "1" * 64)
    return settings


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (revoke, "was revoked"),
        (let_it_expire, "has expired"),
        (give_another_role, "has not the role of REVS_APPROVER_ROLE"),
        (put_other_weights, "with other weights than those that are registered now"),
    ],
)
def test_an_approval_that_counts_no_more_promotes_nothing(
    happens: Any, said: str, officers: Settings, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batch_id = waiting(here)
    who, _ = token(here)
    approve(officers, here, who)
    settings = happens(here, who, officers, monkeypatch)
    (found,) = promote_approved(settings)
    assert found.state == "refused" and said in found.said and "nothing was promoted" in found.said
    assert here.registry.champion("demo").version == "1" and here.store.batch(batch_id).status == "waiting"


def test_a_candidate_that_waited_too_long_is_neither_approved_nor_promoted(
    officers: Settings, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, batch_id = waiting(here)
    who, _ = token(here)
    (candidate,) = approvals(officers, here).candidates()
    approve(officers, here, who)
    settings = officers.model_copy(update={"approval_days": 1})
    later = datetime.now(UTC) + timedelta(days=1, hours=1)
    monkeypatch.setattr(rows, "now", lambda: later)
    (found,) = promote_approved(settings)
    assert found.state == "expired" and f"'revs batches abandon {batch_id}'" in found.said
    with pytest.raises(GateRefused, match=r"for more than 1 days \(REVS_APPROVAL_DAYS\): nothing was approved"):
        approvals(settings, here).approve(who, batch_id, version=candidate.version, weights=candidate.weights)
    assert here.registry.champion("demo").version == "1"


@pytest.mark.parametrize(
    "other", [{"weights": "sha256:" + "1" * 64}, {"version": "models:/demo/1"}], ids=["weights", "version"]
)
def test_what_a_batch_did_not_make_is_not_approved(
    other: dict[str, str], officers: Settings, here: Installation
) -> None:
    _, batch_id = waiting(here)
    (candidate,) = approvals(officers, here).candidates()
    wanted = {"version": candidate.version, "weights": candidate.weights} | other
    with pytest.raises(GateRefused, match=f"the candidate of batch {batch_id} is models:/demo/2 with other weights"):
        approvals(officers, here).approve(token(here)[0], batch_id, **wanted)
    assert here.store.events(event=APPROVED) == []


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told_the_new_champion(here: Installation) -> None:
    first, _ = waiting(here)
    second, _ = waiting(here, identifiers=ANOTHER)
    together, said = threading.Barrier(2), {}

    def promote(uri: str) -> None:
        together.wait()
        try:
            said[uri] = promote_version(here.settings, uri, approved_by="A. Officer")["model"]
        except RevsError as error:
            said[uri] = error

    threads = [threading.Thread(target=promote, args=(each.uri,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [uri for uri, what in said.items() if what == uri]
    (refused,) = [what for what in said.values() if isinstance(what, GateRefused | OperationFailed)]
    assert here.registry.champion("demo").uri == won
    assert f"{won} was made champion since" in str(refused) and "\n" not in str(refused)


def test_the_command_takes_the_token_from_a_file_or_the_environment_and_never_shows_it(
    officers: Settings, here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    version, _ = waiting(here)
    _, secret = token(here)

    def revs(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["promote", *arguments])
        return done.stdout + str(done.exception or "")

    assert "put one in REVS_APPROVER_TOKEN, or name its file" in revs(version.uri, "--approved-by", "A. Officer")
    assert "cannot be read" in revs(version.uri, "--token-file", str(tmp_path / "none"))
    (file := tmp_path / "token").write_text(f"{secret}x\n")
    assert "is none of this installation" in (said := revs(version.uri, "--token-file", str(file)))
    assert secret not in said
    assert f"{version.uri} waits since" in revs("--approved")
    assert "give models:/NAME/3, or --approved" in revs()
    assert "--approved promotes what others approved" in revs("--approved", "--approved-by", "A. Officer")
    monkeypatch.setenv("REVS_APPROVER_TOKEN", secret)
    assert f"{version.uri} is champion" in revs(version.uri, "--approved-by", "A. Officer")
    assert "no candidate waits" in revs("--approved")


def test_a_promotion_that_waited_for_its_turn_sees_what_was_erased_meanwhile(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version 1 was champion before, so its gates are asked nothing; it holds what the batch of version 2 erases."""
    from contextlib import contextmanager

    version, _ = waiting(here)
    turn = type(here.store).moving_alias

    @contextmanager
    def comes_second(store: Any, model: str) -> Any:
        monkeypatch.setattr(type(here.store), "moving_alias", turn)
        promote_version(here.settings, version.uri, approved_by="A. Officer")
        with turn(store, model):
            yield

    monkeypatch.setattr(type(here.store), "moving_alias", comes_second)
    with pytest.raises(GateRefused, match="lacks what completed batches erased"):
        promote_version(here.settings, "models:/demo/1", approved_by="A. Officer")
    assert here.registry.champion("demo").version == "2"
