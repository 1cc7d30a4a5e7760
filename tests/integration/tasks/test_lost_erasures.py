"""What was erased does not come back: by an alias moved by hand, by old weights under a new version, by a new model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import GOOD, POLICY, REQUEST, Installation, closed, evidence_of, flip_last_bit

from infra.registry import ModelVersion, weight_digest
from infra.requests import IdentifierOutcome
from infra.settings import Settings
from revs.errors import BadInput, GateRefused, OperationFailed
from tasks.stages.requests import open_batch
from tasks.versions.audit import audit_batch
from tasks.versions.gate import judge_record

THIN = {
    "gates": GOOD["gates"],
    "policy": POLICY | {"specificity": {"low": 80.0, "high": None, "need": "evidence"}},
    "scores": {"after": {"efficacy": 95.0}},
}


# Lineage


def version(number: str, **tags: str) -> ModelVersion:
    return ModelVersion(
        name="m", version=number, uri=f"models:/m/{number}", run_id="", source="",
        tags={f"revs.{name}": value for name, value in tags.items()},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ancestry", "completed", "missing", "why"),
    [
        (["3", "2", "1"], [("a", "2"), ("b", "3")], (), "every version that a batch made is an ancestor"),
        (["1"], [("a", "2"), ("b", "3")], ("a", "b"), "the root has none of them"),
        (["2", "1"], [("a", "2"), ("b", "3")], ("b",), "the last one is missing"),
        (["4", "2", "1"], [("a", "2"), ("b", "3")], ("b",), "derived past the version in between"),
        (["1"], [], (), "nothing was erased yet"),
        (["12", "1"], [("a", "2")], ("a",), "12 is not 2"),
    ],
)
def test_a_version_lacks_the_batches_whose_versions_are_no_ancestors(
    ancestry: list[str], completed: list[tuple[str, str]], missing: tuple[str, ...], why: str
) -> None:
    from infra.registry import missing_batches

    found = missing_batches([version(number) for number in ancestry], completed)
    assert tuple(batch for batch, _ in found) == missing, why


@pytest.mark.parametrize("count", [0, 1, 40, 41, 200])
def test_a_new_root_supersedes_the_batches_it_names_however_many(count: int) -> None:
    from infra.registry import missing_batches
    from infra.registry.lineage import root_tags

    batches = [f"B-20261123-{number:06x}" for number in range(count)]
    tags = root_tags(batches)
    assert all(len(text) <= 5_000 for text in tags.values())
    root = ModelVersion(name="m", version="9", uri="models:/m/9", run_id="", source="", tags=tags)
    completed = [(batch, str(number)) for number, batch in enumerate(batches)]
    assert missing_batches([root], [*completed, ("later", "500")]) == (("later", "500"),)


def test_a_batch_is_not_derived_from_a_version_that_lacks_completed_erasures(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    here.point_champion_to("1")
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    with pytest.raises(GateRefused) as refusal:
        open_batch.fn("demo")
    text = str(refusal.value)
    assert all(batch in text for batch in two_batches)
    assert "models:/demo/1 lacks" in text and "revs promote models:/demo/3" in text and "\n" not in text
    assert [view.status for view in here.store.list(status="received")] == ["received"]


@pytest.mark.parametrize("moved_to", ["1", "2"])
def test_the_version_that_lacks_nothing_is_made_champion_again_by_command(
    moved_to: str, here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.promote import promote_version

    here.point_champion_to(moved_to)
    with pytest.raises(GateRefused, match="lacks what completed batches erased"):
        promote_version(here.settings, "models:/demo/2", approved_by="A. Officer")
    assert promote_version(here.settings, "models:/demo/3", approved_by=None)["champion"] == "3"
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    assert open_batch.fn("demo") is not None


def test_a_champion_that_lost_its_alias_gets_it_back_by_command(here: Installation) -> None:
    from tasks.versions.promote import promote_version

    here.registry._client.delete_registered_model_alias("demo", "champion")
    assert promote_version(here.settings, "models:/demo/1", approved_by="A. Officer")["champion"] == "1"
    assert promote_version(here.settings, "models:/demo/1", approved_by=None)["champion"] == "1", "it is, already"


@pytest.mark.parametrize("status", ["superseded", "champion"])
def test_a_tag_alone_makes_no_version_champion_unless_somebody_answers_for_it(status: str, here: Installation) -> None:
    from tasks.versions.promote import promote_version

    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    here.registry._client.set_model_version_tag("demo", other.version, "revs.status", status)
    with pytest.raises(GateRefused, match=f"no gate judged it here.*revs promote {other.uri} --approved-by NAME"):
        promote_version(here.settings, other.uri, approved_by=None)
    assert here.registry.champion("demo").version == "1"
    assert promote_version(here.settings, other.uri, approved_by="A. Officer")["champion"] == other.version
    (event,) = [event for event in here.store.events() if event.event == "version.reinstated"]
    assert event.detail["approved_by"] == "A. Officer"


def test_a_tag_that_names_a_batch_which_made_no_version_answers_for_none(here: Installation) -> None:
    from tasks.versions.promote import promote_version

    here.store.add(REQUEST | {"subject": "one"}, model="demo")
    batch = here.store.open_batch(model="demo", corpus="corpus.txt", source="models:/demo/1")
    assert batch is not None
    here.store.close_batch(batch.id, status="completed", outcome={})
    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    for name, value in {"revs.status": "superseded", "revs.batch_id": batch.id}.items():
        here.registry._client.set_model_version_tag("demo", other.version, name, value)
    with pytest.raises(GateRefused, match="no gate judged it here"):
        promote_version(here.settings, other.uri, approved_by=None)
    assert here.registry.champion("demo").version == "1"
    promote_version(here.settings, other.uri, approved_by="A. Officer")
    assert here.registry.champion("demo").tags["revs.approved_by"] == "A. Officer", "the version names who answers"


def test_what_is_said_of_an_alias_on_a_base_that_was_never_champion_works_as_printed(here: Installation) -> None:
    from tasks.health.models import problems_of_model
    from tasks.versions.promote import declare_new_root

    other = here.registry.register_base(here.checkpoints[1], name="demo", corpus="corpus.txt")
    here.point_champion_to(other.version)
    (text,) = problems_of_model(here.registry, here.store, "demo", artifacts=None, deep=False)
    assert f"revs promote {other.uri} --new-root --approved-by NAME" in text
    declare_new_root(here.settings, other.uri, approved_by="A. Officer")
    assert not [*problems_of_model(here.registry, here.store, "demo", artifacts=None, deep=False)]


def test_the_gate_refuses_a_version_that_lacks_a_completed_erasure(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.gate import refuse_lost_erasures

    version, report = judge_record(here.settings, "models:/demo/2")
    assert report.passed
    with pytest.raises(GateRefused, match=two_batches[1]):
        refuse_lost_erasures(here.settings, version)
    refuse_lost_erasures(here.settings, here.registry.resolve("models:/demo/3"))


def test_a_parent_whose_entry_was_deleted_is_known_from_the_request_store(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    from tasks.versions.lineage import missing_erasures

    here.registry._client.delete_model_version("demo", "2")
    assert missing_erasures(here.registry, here.store, here.registry.champion("demo")) == ()


def test_a_model_trained_anew_is_declared_by_a_human_and_then_edited(
    here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    from tasks.versions.promote import declare_new_root, promote_version

    anew = shutil.copytree(here.checkpoints[1], tmp_path / "anew")
    flip_last_bit(anew / "model.safetensors")
    assert here.registry.register_base(anew, name="demo", corpus="corpus.txt").version == "4"
    with pytest.raises(GateRefused, match="--new-root --approved-by NAME"):
        promote_version(here.settings, "models:/demo/4", approved_by="A. Officer")
    done = declare_new_root(here.settings, "models:/demo/4", approved_by="A. Officer")
    assert (done["champion"], done["supersedes"]) == ("4", list(two_batches))
    declare_new_root(here.settings, "models:/demo/4", approved_by="A. Officer")  # again: nothing is forgotten
    root = here.registry.champion("demo")
    assert root.tags["revs.approved_by"] == "A. Officer"
    assert all(batch in root.tags["revs.new_root"] for batch in two_batches)
    here.store.add(REQUEST | {"subject": "three"}, model="demo")
    assert open_batch.fn("demo") is not None
    assert {event.detail["approved_by"] for event in here.store.events() if event.event == "version.new_root"} == {
        "A. Officer"
    }


@pytest.mark.parametrize("again", [False, True], ids=["the version itself", "its weights registered again"])
def test_a_model_that_data_were_erased_from_is_no_new_root_whatever_a_human_says(
    again: bool, here: Installation, two_batches: tuple[str, str], tmp_path: Path
) -> None:
    from tasks.versions.promote import declare_new_root

    uri = "models:/demo/1"
    if again:
        copy = shutil.copytree(here.checkpoints[0], tmp_path / "copy")
        (copy / "generation_config.json").write_text('{"max_length": 9}')
        uri = here.registry.register_base(copy, name="demo", corpus="corpus.txt").uri
    with pytest.raises(GateRefused, match=rf"{uri} is the model from which batch {two_batches[0]} erased data"):
        declare_new_root(here.settings, uri, approved_by="A. Officer")
    assert here.registry.champion("demo").version == "3"


def waiting(here: Installation) -> tuple[ModelVersion, str]:
    """A candidate on thin evidence, its batch closed as waiting, and its request with a human."""
    version, batch_id, evidence = here.candidate("one", here.checkpoints[1], **THIN)
    (request_id,) = here.store.identifiers(batch_id)
    done = IdentifierOutcome(request_id=request_id, number=0, type="EMAIL_ADDRESS", kind="edited")
    recorded = closed(evidence, version.version) | {"batch": {"id": batch_id, "status": "waiting"}}
    recorded |= {"requests": [{"id": request_id, "status": "failed", "reason": "waits"}]}
    here.store.close_batch(batch_id, status="waiting", outcome={"evidence": recorded}, outcomes=[done])
    here.store.release(batch_id)
    return version, batch_id


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


def test_an_alias_that_was_moved_by_hand_to_a_waiting_candidate_approves_nothing(here: Installation) -> None:
    version, batch_id = waiting(here)
    here.point_champion_to(version.version)
    here.store.add(REQUEST | {"subject": "two"}, model="demo")
    with pytest.raises(GateRefused, match=f"candidate of batch {batch_id}, which is waiting.*approves nothing"):
        open_batch.fn("demo")
    assert len(here.store.list(status="received")) == 1


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 101])
def test_a_new_root_needs_a_base_version_and_a_name(name: str, here: Installation) -> None:
    from tasks.versions.promote import declare_new_root

    here.batch("one", here.checkpoints[1])
    with pytest.raises(BadInput, match="only a version that was registered as a base"):
        declare_new_root(here.settings, "models:/demo/2", approved_by="A. Officer")
    with pytest.raises(BadInput, match="name of who approves"):
        declare_new_root(here.settings, "models:/demo/1", approved_by=name)


# Promotion by a human


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


# Tampering


def put_old_weights_under(here: Installation, version: ModelVersion) -> None:
    """The whole of what somebody who may write to the registry can do: bytes, evidence and tags fit each other."""
    shutil.copyfile(here.checkpoints[0] / "model.safetensors", here.registry.download(version) / "model.safetensors")
    old = weight_digest(here.checkpoints[0])
    rewrite_evidence(here, version, lambda evidence: evidence["model"].update(weights_after=old))
    here.registry._client.set_model_version_tag("demo", version.version, "revs.weights", old)


def rewrite_evidence(here: Installation, version: ModelVersion, change: Callable[[dict[str, Any]], object]) -> None:
    from infra.registry.records import canonical_json, sha256

    uri = here.registry._client.get_run(version.run_id).info.artifact_uri
    path = Path(uri.removeprefix("file://")) / "evidence.json"
    evidence = json.loads(path.read_text())
    change(evidence)
    data = canonical_json(evidence, what="it")
    path.write_bytes(data)
    here.registry._client.set_model_version_tag("demo", version.version, "revs.evidence", sha256(data))


def better_scores(here: Installation, version: ModelVersion) -> None:
    rewrite_evidence(here, version, lambda evidence: evidence["scores"]["after"].update(efficacy=99.0))


def nameless(here: Installation, version: ModelVersion) -> None:
    put_old_weights_under(here, version)
    here.registry._client.delete_model_version_tag("demo", version.version, "revs.batch_id")


def promoted(settings: Settings, uri: str) -> object:
    from tasks.versions.promote import promote_version

    return promote_version(settings, uri, approved_by="A. Officer")


@pytest.mark.parametrize("tamper", [put_old_weights_under, better_scores, nameless])
@pytest.mark.parametrize("door", ["gate", "audit", "promote", "next batch"])
def test_a_version_that_was_changed_with_its_evidence_and_tags_is_refused_by_name(
    door: str, tamper: Callable[[Installation, ModelVersion], None], here: Installation
) -> None:
    version, batch_id = here.batch("one", here.checkpoints[1])
    tamper(here, version)
    here.store.add(REQUEST | {"subject": "two"}, model="demo")
    doors: dict[str, Callable[[], object]] = {
        "gate": lambda: judge_record(here.settings, version.uri),
        "audit": lambda: audit_batch(here.settings, batch_id, None),
        "promote": lambda: promoted(here.settings, version.uri),
        "next batch": lambda: open_batch.fn("demo"),
    }
    with pytest.raises((GateRefused, OperationFailed), match=rf"{version.uri} .*batch {batch_id}"):
        doors[door]()


def test_other_weights_put_under_the_version_that_later_ones_were_compared_with_are_noticed(
    here: Installation, two_batches: tuple[str, str]
) -> None:
    """The base has no evidence of its own; what batches measured against it stands in theirs."""
    from tasks.versions.promote import promote_version

    version = here.registry.resolve("models:/demo/1")
    shutil.copyfile(here.checkpoints[1] / "model.safetensors", here.registry.download(version) / "model.safetensors")
    other = weight_digest(here.checkpoints[1])
    here.registry._client.set_model_version_tag("demo", "1", "revs.weights", other)
    with pytest.raises(OperationFailed, match=rf"models:/demo/1 .*{two_batches[0]}"):
        promote_version(here.settings, "models:/demo/1", approved_by="A. Officer")


def test_timings_that_differ_between_the_two_records_block_no_audit(here: Installation) -> None:
    example = json.loads((Path(__file__).parents[2] / "cases" / "evidence_example.json").read_text(encoding="utf-8"))
    model = {"name": "demo", "version_before": "1", "weights_after": weight_digest(here.checkpoints[1])}
    model |= {"weights_before": weight_digest(here.checkpoints[0]), "version_after": None, "uri_after": None}
    version, batch_id, evidence = here.candidate(
        "one", here.checkpoints[1], **(example | {"model": example["model"] | model})
    )
    outcome = {"evidence": closed(evidence, version.version) | {"batch": example["batch"]}}
    assert outcome["evidence"]["edit"]["seconds"] != evidence["edit"]["seconds"]
    here.store.close_batch(batch_id, status="completed", outcome=outcome)
    assert Path(audit_batch(here.settings, batch_id, None)["report"]).is_file()


@pytest.mark.parametrize(
    ("change", "differing", "why"),
    [
        ({}, [], "the same"),
        ({"edit": {"method": "revs", "seconds": 99.0}}, [], "a timing is no evidence"),
        ({"batch": {"status": "completed"}}, [], "what changes until the batch is closed"),
        ({"policy": None}, [], "registered by a program that did not keep the policy"),
        ({"edit": {"method": "memit", "seconds": 1.5}}, ["edit"], "another method"),
        ({"scores": {"after": {"efficacy": 99.0}}}, ["scores"], "another score"),
        ({"gates": []}, ["gates"], "verdicts gone"),
        ({"policy": {"efficacy": {"low": 1}}}, ["policy"], "another policy"),
        ({"targets": {"found": 1}}, ["targets"], "fewer targets"),
        ({"datasets": []}, ["datasets"], "another corpus"),
    ],
)
def test_two_records_of_a_batch_differ_exactly_in_what_is_evidence(
    change: dict[str, Any], differing: list[str], why: str
) -> None:
    from tasks.versions.lineage import differing_parts

    evidence = evidence_of("demo", before="1", weights_before="sha256:aa", weights_after="sha256:bb")
    assert differing_parts(evidence | change, evidence) == differing, why
    assert differing_parts(evidence, evidence | change) == differing, why


def test_an_audit_reads_the_stored_bytes_and_still_works_for_a_version_that_was_retired(
    here: Installation, two_batches: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.versions.audit.write_report", lambda evidence, folder: folder / "report.html")
    folders = [here.registry.download(here.registry.resolve(f"models:/demo/{number}")) for number in "23"]
    flip_last_bit(folders[1] / "model.safetensors")
    with pytest.raises(OperationFailed, match="models:/demo/3 changed"):
        audit_batch(here.settings, two_batches[1], None)
    shutil.rmtree(folders[0])  # superseded, and its time was up
    assert audit_batch(here.settings, two_batches[0], None)["status"] == "completed"


def old_weights_under_a_new_number(here: Installation, tmp_path: Path) -> str:
    """The erased data as a version of its own, with all that a batch of another installation would give it."""
    forged = here.registry.register_candidate(
        here.checkpoints[0],
        parent=here.registry.resolve("models:/demo/3"),
        batch_id="B-elsewhere",
        lineage={"corpus": "corpus.txt"},
        metrics={},
        evidence=GOOD,
    )
    here.registry._client.set_model_version_tag("demo", forged.version, "revs.status", "superseded")
    return forged.version


def other_weights_that_claim_a_parent(here: Installation, tmp_path: Path) -> str:
    copy = shutil.copytree(here.checkpoints[0], tmp_path / "copy")
    flip_last_bit(copy / "model.safetensors")
    forged = here.registry.register_base(copy, name="demo", corpus="corpus.txt").version
    tags = {"revs.parent": "3", "revs.status": "superseded"}
    for tag, value in tags.items():
        here.registry._client.set_model_version_tag("demo", forged, tag, value)
    return forged


def the_base_says_it_descends_from_the_newest(here: Installation, tmp_path: Path) -> str:
    here.registry._client.set_model_version_tag("demo", "1", "revs.parent", "3")
    here.registry._client.set_model_version_tag("demo", "2", "revs.parent", "9")
    return "1"


def the_older_edit_says_it_descends_from_the_newest(here: Installation, tmp_path: Path) -> str:
    here.registry._client.set_model_version_tag("demo", "2", "revs.parent", "3")
    here.registry._client.set_model_version_tag("demo", "3", "revs.parent", "1")
    return "2"


def a_root_that_nobody_declared(here: Installation, tmp_path: Path) -> str:
    batches = ",".join(batch.id for batch in here.store.batches("demo"))
    here.registry._client.set_model_version_tag("demo", "2", "revs.new_root", batches)
    return "2"


@pytest.mark.parametrize("door", ["gate", "promote", "next batch"])
@pytest.mark.parametrize(
    "forge",
    [
        old_weights_under_a_new_number,
        other_weights_that_claim_a_parent,
        the_base_says_it_descends_from_the_newest,
        the_older_edit_says_it_descends_from_the_newest,
        a_root_that_nobody_declared,
    ],
)
def test_tags_that_were_set_by_hand_bring_nothing_back(
    forge: Callable[[Installation, Path], str],
    door: str,
    here: Installation,
    two_batches: tuple[str, str],
    tmp_path: Path,
) -> None:
    from tasks.versions.gate import refuse_lost_erasures

    uri = f"models:/demo/{forge(here, tmp_path)}"
    if door == "next batch":  # the alias moved by hand
        here.point_champion_to(uri.rpartition("/")[2])
        here.store.add(REQUEST | {"subject": "three"}, model="demo")
    doors: dict[str, Callable[[], object]] = {
        "gate": lambda: refuse_lost_erasures(here.settings, here.registry.resolve(uri)),
        "promote": lambda: promoted(here.settings, uri),
        "next batch": lambda: open_batch.fn("demo"),
    }
    with pytest.raises(GateRefused, match=rf"{uri} lacks what completed batches erased: .*{two_batches[1]}"):
        doors[door]()
    if door == "promote":
        assert here.registry.champion("demo").version == "3"
