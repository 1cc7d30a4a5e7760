"""Versions that somebody made with the MLflow client: nothing that only tags and an alias say makes them serve."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from registered import PASSED, POLICY, REQUEST, Installation, evidence_of, flip_last_bit, waiting

from infra.registry import weight_digest
from infra.registry.records import sha256
from infra.requests import Clock
from revs.errors import BadInput, GateRefused, OperationFailed
from tasks.stages.requests import open_batch
from tasks.versions.chain import read_chain
from tasks.versions.gate import judge_record
from tasks.versions.guard import reconcile
from tasks.versions.lineage import registered_detail
from tasks.versions.promote import promote_version
from tasks.versions.registering import register_model
from tasks.versions.retire import Desk, apply, hold, plan
from tasks.versions.rollback import roll_back

Forge = Callable[..., str]


@pytest.fixture
def forge(here: Installation, tmp_path: Path) -> Forge:
    """Makes a version of what version 1 holds, but for a bit, with tags and evidence that fit; returns its number."""

    def make(odd: object = None, **tags: str) -> str:
        client, parent = here.registry._client, here.registry.champion("demo")
        stored = here.registry.stored_at(here.registry.resolve("models:/demo/1"))
        assert stored is not None
        folder = shutil.copytree(stored, tmp_path / "forged")
        flip_last_bit(folder / "model" / "model.safetensors")
        its = client.get_run(parent.run_id).info.experiment_id  # the default one stores in the current folder
        run, weights = client.create_run(its), weight_digest(folder / "model")
        evidence = evidence_of("demo", before=parent.version, weights_before=str(parent.weights), weights_after=weights)
        evidence = evidence if odd is None else odd
        (tmp_path / "evidence.json").write_bytes(data := json.dumps(evidence).encode())
        client.log_artifact(run.info.run_id, str(tmp_path / "evidence.json"))
        own = {
            "revs.parent": parent.version, "revs.batch_id": "B-20260101-aaaaaa", "revs.corpus": "corpus.txt",
            "revs.evidence": sha256(data), "revs.weights": weights, "revs.status": "champion",
        }  # fmt: skip
        made = client.create_model_version("demo", str(folder), run.info.run_id, tags=own | tags)
        return str(made.version)

    return make


ODD = (
    [], "text", 7, {}, {"model": []}, {"model": {}, "scores": "good"}, {"scores": {"after": [95.0]}, "gates": PASSED},
    {"scores": {"after": {"efficacy": 95.0}}, "gates": {"efficacy": True}, "policy": POLICY},
    {"scores": {"after": {"efficacy": 95.0}}, "gates": [3], "policy": POLICY},
    {"scores": {"after": {"efficacy": 95.0}}, "gates": PASSED, "policy": {"efficacy": 90}},
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_evidence_that_no_program_wrote_ends_in_one_line_and_nothing_is_promoted(
    odd: object, here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    uri = f"models:/demo/{forge(odd, **{'revs.status': 'registered'})}"
    with pytest.raises((GateRefused, OperationFailed), match=re.escape(uri)):
        promote_version(here.settings, uri, approved_by="A. Officer")
    with pytest.raises((GateRefused, OperationFailed), match=re.escape(uri)):
        judge_record(here.settings, uri)
    assert not read_chain(here.settings, uri, read_weights=True).links[0].holds
    assert here.registry.alias("demo") == "3"


@pytest.mark.parametrize("status", ["champion", "superseded", "registered"])
@pytest.mark.parametrize("moved", [False, True])
def test_a_forged_version_is_not_promoted_unless_somebody_answers_for_it(
    status: str, moved: bool, here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    number = forge(**{"revs.status": status})
    if moved:
        here.point_champion_to(number)
    with pytest.raises(GateRefused, match="no batch of this installation made models:/demo/4"):
        promote_version(here.settings, f"models:/demo/{number}", approved_by=None)
    assert {event.event for event in here.store.events()} & {"version.reinstated"} == set()


def test_no_batch_is_opened_on_a_forged_champion(
    here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    here.point_champion_to(forge())
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    with pytest.raises(GateRefused, match=r"moved to version 4 by somebody else.*no batch is opened on it"):
        open_batch.fn("demo")


def test_the_id_of_an_open_batch_hides_no_alias_that_was_moved(
    here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    _, batch_id, _ = here.candidate("three", here.checkpoints[1])
    here.point_champion_to(forge(**{"revs.batch_id": batch_id}))
    (found,) = reconcile(here.settings, restore=False)
    assert "was moved to version 5 by somebody else" in found.problems[0]


def test_a_champion_moved_by_hand_is_not_taken_back_as_if_it_had_served(
    here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    here.point_champion_to(number := forge())
    with pytest.raises(BadInput, match=r"by the audit log models:/demo/3 serves.*revs reconcile --restore"):
        roll_back(here.settings, f"models:/demo/{number}", approved_by="A. Officer", reason="odd")


def test_the_lineage_of_a_forged_version_does_not_hold(
    here: Installation, two_batches: tuple[str, str], forge: Forge
) -> None:
    found = read_chain(here.settings, f"models:/demo/{forge()}", read_weights=True).broken
    assert any("neither its log nor a signature knows this version" in check.said for check in found)


def test_the_bytes_are_read_also_where_somebody_has_moved_the_alias_already(here: Installation) -> None:
    version, _ = waiting(here)
    flip_last_bit(here.registry.download(version) / "model.safetensors")
    here.point_champion_to(version.version)
    with pytest.raises(OperationFailed, match=f"the weights of {version.uri} changed"):
        promote_version(here.settings, version.uri, approved_by="A. Officer")


def test_models_behind_the_first_hundred_are_watched_and_one_that_is_gone_is_missed(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    client = here.registry._client
    for number in range(101):
        client.create_registered_model(f"a{number:03}")
    client.create_registered_model("o'brien")  # another team's, and none of ours can be called so
    assert "demo" in here.registry.names() and "o'brien" not in here.registry.names()
    here.point_champion_to("2")
    (found,) = reconcile(here.settings, restore=True)
    assert found.restored == "models:/demo/3"
    plan(Desk.of(here.settings))
    client.delete_registered_model("demo")
    (found,) = reconcile(here.settings, restore=False)
    assert "model 'demo' is gone from the registry, and models:/demo/3 served" in found.problems[0]


def test_the_candidate_of_a_batch_that_was_given_up_is_not_promoted(here: Installation) -> None:
    version, batch_id = waiting(here)
    here.store.close_batch(batch_id, status="abandoned", outcome=here.store.batch(batch_id).outcome)
    with pytest.raises(GateRefused, match=f"the candidate of batch {batch_id}, which is abandoned"):
        promote_version(here.settings, version.uri, approved_by="A. Officer")


@pytest.fixture
def later(here: Installation, monkeypatch: pytest.MonkeyPatch, temporary: Path) -> Desk:
    """The installation, 61 days later."""
    monkeypatch.setattr(Clock, "today", lambda _: datetime.now(UTC).date() + timedelta(days=61))
    return Desk.of(here.settings)


def test_what_was_rolled_back_stays_while_erased_data_serves_and_no_longer(
    here: Installation, two_batches: tuple[str, str], later: Desk
) -> None:
    roll_back(here.settings, "models:/demo/3", approved_by="A. Officer", reason="answers are garbled")
    here.point_champion_to("1")
    (found,) = reconcile(here.settings, restore=True)
    assert found.restored == "models:/demo/2"
    apply(later)
    assert here.registry.stored_files(here.registry.resolve("models:/demo/3")), "it is the way forward"
    promote_version(here.settings, "models:/demo/3", approved_by=None)
    assert "models:/demo/2" in apply(later).retired


def test_a_tag_of_other_weights_deletes_no_base(
    here: Installation, two_batches: tuple[str, str], later: Desk, tmp_path: Path
) -> None:
    folder = shutil.copytree(here.checkpoints[0], tmp_path / "other")
    flip_last_bit(folder / "model.safetensors")
    base = register_model(here.settings, folder, name="demo", corpus="corpus.txt", tags={})
    old = here.registry.resolve("models:/demo/1").tags
    for key, value in {"revs.weights": old["revs.weights"], "revs.status": "superseded"}.items():
        here.registry._client.set_model_version_tag("demo", base.version, key, value)
    assert base.uri not in apply(later).retired
    assert here.registry.stored_files(base)


def test_a_version_whose_entry_was_deleted_is_missed_and_its_run_is_no_leftover(
    here: Installation, two_batches: tuple[str, str], later: Desk
) -> None:
    version, client = here.registry.champion("demo"), here.registry._client
    here.store.record("version.registered", batch_id=two_batches[1], detail=registered_detail(version))
    place = here.registry.stored_at(version)
    client.delete_registered_model_alias("demo", "champion")
    client.delete_registered_model_alias("demo", "previous")
    client.delete_model_version("demo", version.version)
    client.set_tag(version.run_id, "revs.key", "base/zzz/sha256:00")
    client.update_run(version.run_id, status="RUNNING")
    done = apply(later)
    assert place is not None and place.exists()
    assert any(f"{version.uri} stays although its day has come: its entry" in problem for problem in done.problems)


def test_a_hold_is_not_promised_where_the_retirement_was_begun(
    here: Installation, two_batches: tuple[str, str], later: Desk
) -> None:
    version = here.registry.resolve("models:/demo/1")
    begun = {"version": version.uri, "run": version.run_id, "weights": version.weights, "until": None}
    here.store.record("version.retiring", detail=begun)
    with pytest.raises(BadInput, match=r"the retirement of models:/demo/1 was begun on .*nothing is held"):
        hold(later, "models:/demo/1", reason="a claim", by="A. Officer")
