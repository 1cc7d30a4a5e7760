"""Bytes, evidence and tags that somebody changed in the registry are noticed, and bring nothing back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import GOOD, REQUEST, Installation, closed, evidence_of, flip_last_bit

from infra.registry import ModelVersion, weight_digest
from infra.settings import Settings
from revs.errors import GateRefused, OperationFailed
from tasks.stages.requests import open_batch
from tasks.versions.audit import audit_batch
from tasks.versions.gate import judge_record


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
        ({"edit": {"method": "revs-reference", "seconds": 99.0}}, [], "a timing is no evidence"),
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
