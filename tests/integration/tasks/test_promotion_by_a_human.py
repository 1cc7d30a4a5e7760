"""What a named human may promote, what no human overrides, and what becomes of a batch that waited for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from registered import GOOD, REQUEST, THIN, Installation, waiting

from revs.errors import BadInput, GateRefused
from tasks.stages.requests import open_batch


def test_promoting_a_waiting_candidate_completes_its_batch_in_the_name_of_who_approved(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.versions.promote import promote_version

    monkeypatch.setattr("tasks.versions.audit.write_report", lambda _, folder: folder / "report.html")
    version, batch_id = waiting(here)
    with pytest.raises(GateRefused, match="insufficient evidence"):
        promote_version(here.settings, version.uri, approved_by=None)
    assert here.store.batch(batch_id).status == "waiting"
    for _ in range(2):
        done = promote_version(here.settings, version.uri, approved_by="A. Officer")
    assert done["champion"] == "2"
    batch = here.store.batch(batch_id)
    evidence = batch.outcome["evidence"]
    assert (batch.status, evidence["batch"]["status"], evidence["approval"]["by"]) == (
        "completed", "completed", "A. Officer",
    )  # fmt: skip
    assert [request["status"] for request in evidence["requests"]] == ["completed"]
    assert [view.status for view in here.store.list(batch_id=batch_id)] == ["completed"]
    promoted = [event.detail for event in here.store.events(batch_id=batch_id) if event.event == "version.promoted"]
    assert promoted[0]["approved_by"] == "A. Officer"


def test_the_run_of_an_open_batch_promotes_it_and_nobody_else(here: Installation) -> None:
    from tasks.versions.promote import promote_version

    version, batch_id, _ = here.candidate("one", here.checkpoints[1], **THIN)
    with pytest.raises(BadInput, match=f"batch {batch_id} is open"):
        promote_version(here.settings, version.uri, approved_by="A. Officer")


@pytest.mark.parametrize("approval", [None, "A. Officer"])
def test_of_two_candidates_that_wait_for_one_champion_the_second_makes_room_for_a_new_one(
    approval: str | None, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.batch.resuming import give_up
    from tasks.versions.promote import promote_version

    monkeypatch.setattr("tasks.versions.audit.write_report", lambda _, folder: folder / "report.html")
    robin = [{"type": "EMAIL_ADDRESS", "value": "robin@example.com"}]
    (first, _), (second, overtaken) = waiting(here), waiting(here, identifiers=robin)
    promote_version(here.settings, first.uri, approved_by="A. Officer")
    with pytest.raises(GateRefused, match=f"{first.uri} was made champion since.*'revs batches abandon {overtaken}'"):
        promote_version(here.settings, second.uri, approved_by=approval)
    assert here.registry.alias("demo") == first.version
    give_up(here.settings, here.store, overtaken, "a remedy that was told")
    next_batch = here.store.open_batch(model="demo", corpus="corpus.txt", source=first.uri)
    assert next_batch is not None and set(next_batch.request_ids) == set(here.store.batch(overtaken).request_ids)


def test_an_alias_that_was_moved_by_hand_to_a_waiting_candidate_approves_nothing(here: Installation) -> None:
    version, batch_id = waiting(here)
    here.point_champion_to(version.version)
    here.store.add(REQUEST | {"subject": "two"}, model="demo")
    with pytest.raises(GateRefused, match=f"candidate of batch {batch_id}, which is waiting.*approves nothing"):
        open_batch.fn("demo")
    assert len(here.store.list(status="received")) == 1


def test_thin_evidence_is_promoted_only_by_a_named_human_who_is_kept_on_record(here: Installation) -> None:
    candidate, _, _ = here.candidate("one", here.checkpoints[1], **THIN)
    with pytest.raises(GateRefused, match="insufficient evidence for models:/demo/2: specificity was not measured"):
        here.registry.promote(candidate, expected_champion=here.registry.champion("demo"))
    assert here.registry.champion("demo").version == "1"
    here.registry.promote(candidate, expected_champion=here.registry.champion("demo"), approved_by="A. Officer")
    champion = here.registry.champion("demo")
    assert (champion.version, champion.tags["revs.approved_by"]) == ("2", "A. Officer")


@pytest.mark.parametrize(
    ("record", "named", "why"),
    [
        ({"gates": [GOOD["gates"][0] | {"value": 99.0}]}, "efficacy", "another value than the score"),
        ({"gates": [GOOD["gates"][0] | {"bound": "≥ 10"}]}, "efficacy", "another bound than the policy"),
        ({"scores": {"after": {"efficacy": 10.0}}}, "efficacy", "a score that fails under a verdict that passed"),
        ({"gates": [*GOOD["gates"], GOOD["gates"][0] | {"name": "delta"}]}, "delta", "a gate the policy does not have"),
        ({"policy": {"delta": {"high": 1}}}, "efficacy", "a policy without the installation's gate"),
        ({"policy": {"efficacy": {"low": 1}}}, "efficacy", "a looser bound"),
        ({"policy": {"efficacy": {"low": "x"}}}, "efficacy", "a policy that is none"),
        ({"policy": None}, "policy", "no policy at all"),
        ({"scores": None}, "no gate results", "no scores"),
        ({"gates": [{"name": "efficacy", "value": 10.0, "bound": "≥ 90", "passed": False}],
          "scores": {"after": {"efficacy": 10.0}}}, "did not pass efficacy", "an honest failure"),
    ],
)  # fmt: skip
def test_promote_judges_scores_and_policy_and_no_human_overrides_a_refusal(
    record: dict[str, Any], named: str, why: str, here: Installation
) -> None:
    candidate, _, _ = here.candidate("one", here.checkpoints[1], **record)
    for approval in ({}, {"approved_by": "A. Officer"}):
        with pytest.raises(GateRefused, match=named) as refusal:
            here.registry.promote(candidate, expected_champion=here.registry.champion("demo"), **approval)
        assert "\n" not in str(refusal.value), why
    assert here.registry.champion("demo").version == "1"


def test_a_line_of_the_audit_log_is_written_once_however_often_a_stage_runs(here: Installation) -> None:
    from types import SimpleNamespace

    from tasks.stages.publish import _record_once

    _, batch_id = waiting(here)
    h: Any = SimpleNamespace(store=here.store, batch=here.store.batch(batch_id))
    for _ in range(3):
        _record_once(h, "version.promoted", {"version": "models:/demo/9"})
    lines = [event for event in here.store.events(batch_id=batch_id) if event.detail == {"version": "models:/demo/9"}]
    assert len(lines) == 1


@pytest.mark.parametrize(("method", "missing"), [("revs", "delta"), ("revs-reference", None), ("memit", None)])
def test_a_version_is_judged_by_the_policy_of_the_method_that_made_it(
    method: str, missing: str | None, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions of earlier releases were edited to fixed ranks, and so judged."""
    from infra.gates.policy import GatePolicy
    from tasks.versions.gate import judge_record

    monkeypatch.setattr(GatePolicy, "RANKS", GatePolicy.from_dict({"delta": {"low": 1.0}}))
    version, _, _ = here.candidate("one", here.checkpoints[1], edit={"method": method, "seconds": 1.5})
    _, report = judge_record(here.settings, version.uri)
    assert report.failed == ((missing,) if missing else ())
    if missing is None:
        here.registry.promote(version, expected_champion=here.registry.champion("demo"))
        assert here.registry.champion("demo").version == version.version
    else:
        with pytest.raises(GateRefused, match=f"looser than this installation's in {missing}"):
            here.registry.promote(version, expected_champion=here.registry.champion("demo"))


@pytest.mark.parametrize("decided", ["withdrawn", "refused", "dropped"])
def test_a_candidate_is_not_promoted_that_was_edited_for_what_a_human_decided_against_since(
    here: Installation, decided: str
) -> None:
    from tasks.versions.promote import promote_version

    two = [*REQUEST["identifiers"], {"type": "US_SSN", "value": "219-41-0001"}]
    version, batch_id = waiting(here, identifiers=two)
    (view,) = here.store.list(batch_id=batch_id)
    if decided == "withdrawn":
        here.store.withdraw(view.id, by="Ana")
    elif decided == "refused":
        here.store.refuse(view.id, ground="legal_obligation", by="Ana")
    else:
        here.store.narrow(view.id, number=0, reason="legal_hold", by="Ana")
    with pytest.raises(BadInput, match=f"nothing was promoted; 'revs batches abandon {batch_id}'"):
        promote_version(here.settings, version.uri, approved_by="A. Officer")
    assert here.registry.champion("demo").version == "1" and here.store.batch(batch_id).status == "waiting"


def test_where_every_promotion_is_approved_a_name_is_asked_for(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.promote import promote_version

    strict = here.settings.model_copy(update={"approval": "always"})
    with pytest.raises(GateRefused, match=r"models:/demo/3 needs a human's approval.*--approved-by NAME"):
        promote_version(strict, "models:/demo/3", approved_by=None)
    assert promote_version(strict, "models:/demo/3", approved_by="A. Officer")["champion"] == "3"


@pytest.mark.parametrize(("days", "promoted"), [(13.9, True), (14.1, False)])
def test_a_candidate_that_waited_too_long_is_refused(
    days: float, promoted: bool, here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.requests import rows
    from tasks.versions.promote import promote_version

    monkeypatch.setattr("tasks.versions.audit.write_report", lambda _, folder: folder / "report.html")
    then = datetime.now(UTC) - timedelta(days=days)
    with monkeypatch.context() as patch:
        patch.setattr(rows, "now", lambda: then)
        version, batch_id = waiting(here)
    if promoted:
        assert promote_version(here.settings, version.uri, approved_by="A. Officer")["champion"] == "2"
        return
    with pytest.raises(GateRefused, match=rf"has waited since {then.date()}, .*revs batches abandon {batch_id}"):
        promote_version(here.settings, version.uri, approved_by="A. Officer")
    assert (here.registry.champion("demo").version, here.store.batch(batch_id).status) == ("1", "waiting")
