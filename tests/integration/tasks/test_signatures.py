"""What the pipeline's doors say of a version whose signature was broken or taken away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from registered import REQUEST, Installation, strip_signature

from infra.registry import ModelVersion, weight_digest
from revs.errors import OperationFailed, RevsError
from tasks.health.installation import examine
from tasks.stages.requests import open_batch
from tasks.versions.audit import audit_batch
from tasks.versions.gate import judge_anew, judge_record
from tasks.versions.lineage import keep_on_record, registered_detail
from tasks.versions.promote import promote_version


def refused(here: Installation, uri: str, batch_id: str, door: str, tmp_path: Path) -> str:
    """What one of the doors says of a version."""
    here.store.add(REQUEST | {"subject": "more"}, model="demo")
    asked = {"requests": str(tmp_path / "requests.jsonl"), "corpus": str(tmp_path / "corpus.txt"), "held_out": None}
    (tmp_path / "requests.jsonl").write_text(json.dumps(REQUEST) + "\n")
    (tmp_path / "corpus.txt").write_text("write to wren@example.com\n" * 3)
    doors: dict[str, Callable[[], object]] = {
        "download": lambda: here.registry.download(here.registry.resolve(uri)),
        "gate": lambda: judge_record(here.settings, uri),
        "gate anew": lambda: judge_anew(here.settings, uri, **asked),  # type: ignore[arg-type]  # a table of both kinds
        "audit": lambda: audit_batch(here.settings, batch_id, None),
        "promote": lambda: promote_version(here.settings, uri, approved_by="A. Officer"),
        "next batch": lambda: open_batch.fn("demo"),
    }
    if door.startswith("doctor"):
        found = examine(lambda: here.settings, deep=door == "doctor --deep")
        return next(each.finding for each in found if each.check == "model demo" and not each.ok)
    with pytest.raises(RevsError) as refusal:
        doors[door]()
    return str(refusal.value)


DOORS = ["gate", "gate anew", "audit", "promote", "next batch", "doctor", "doctor --deep"]


def weights_of_the_base(here: Installation, version: ModelVersion) -> None:
    shutil.copyfile(here.checkpoints[0] / "model.safetensors", here.registry.download(version) / "model.safetensors")
    tag = weight_digest(here.checkpoints[0])
    here.registry._client.set_model_version_tag("demo", version.version, "revs.weights", tag)


def another_corpus(here: Installation, version: ModelVersion) -> None:
    here.registry._client.set_model_version_tag("demo", version.version, "revs.corpus", "ref:9")


def other_claims(here: Installation, version: ModelVersion) -> None:
    """A field of the evidence that no second record has, with its tag."""
    from infra.registry.records import canonical_json, sha256

    path = Path(here.registry._client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))
    evidence = json.loads((path / "evidence.json").read_text()) | {"notes": "nothing to see"}
    (path / "evidence.json").write_bytes(data := canonical_json(evidence, what="it"))
    here.registry._client.set_model_version_tag("demo", version.version, "revs.evidence", sha256(data))


@pytest.mark.parametrize("door", ["download", *DOORS])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (weights_of_the_base, "weights"),
        (another_corpus, r"revs.corpus"),
        (other_claims, "evidence"),
    ],
)
def test_every_door_refuses_what_is_not_what_was_signed(
    change: Callable[[Installation, ModelVersion], None], named: str, door: str, here: Installation, tmp_path: Path
) -> None:
    version, batch_id = here.batch("one", here.checkpoints[1])
    keep_on_record_of_batch(here, version, batch_id)
    change(here, version)
    said = refused(here, version.uri, batch_id, door, tmp_path)
    assert version.uri in said and named in said and "\n" not in said


def keep_on_record_of_batch(here: Installation, version: ModelVersion, batch_id: str) -> None:
    """What the stage that registers a candidate writes into the log."""
    here.store.record("version.registered", batch_id=batch_id, detail=registered_detail(version))


@pytest.mark.parametrize("door", DOORS)
def test_a_candidate_whose_signature_was_taken_away_is_none_from_before_signatures(
    door: str, here: Installation, tmp_path: Path
) -> None:
    version, batch_id = here.batch("one", here.checkpoints[1])
    keep_on_record_of_batch(here, version, batch_id)
    strip_signature(here.registry, version)
    said = refused(here, version.uri, batch_id, door, tmp_path)
    assert version.uri in said and "signature" in said and "gone" in said


@pytest.mark.parametrize("door", ["gate anew", "promote", "next batch", "doctor"])
def test_a_base_whose_signature_was_taken_away_is_none_from_before_signatures(
    door: str, here: Installation, tmp_path: Path
) -> None:
    base = here.registry.champion("demo")
    keep_on_record(here.store, base)
    strip_signature(here.registry, base)
    keep_on_record(here.store, here.registry.champion("demo"))  # registered again meanwhile: the first record stays
    said = refused(here, base.uri, "", door, tmp_path)
    assert base.uri in said and "signature" in said and "gone" in said


def finding(here: Installation, check: str, *, deep: bool = False) -> dict[str, Any]:
    return {each.check: asdict(each) for each in examine(lambda: here.settings, deep=deep)}[check]


def test_a_version_from_before_signatures_goes_on_working_and_doctor_warns(here: Installation) -> None:
    strip_signature(here.registry, here.registry.champion("demo"))
    model = finding(here, "model demo", deep=True)
    assert model["ok"] and "NOT SIGNED" in model["finding"]
    version, batch_id = here.batch("one", here.checkpoints[1])
    assert judge_record(here.settings, version.uri)[0].version == "2"
    assert "signed by" in finding(here, "model demo")["finding"]
    promote_version(here.settings, version.uri, approved_by="A. Officer")
    assert audit_batch(here.settings, batch_id, None)["status"] == "completed"


def test_the_setting_refuses_versions_from_before_signatures(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.settings import load_settings

    here.store.add(REQUEST, model="demo")
    strip_signature(here.registry, here.registry.champion("demo"))
    monkeypatch.setenv("REVS_UNSIGNED", "refuse")
    with pytest.raises(OperationFailed, match="models:/demo/1 is not signed, and REVS_UNSIGNED=refuse"):
        open_batch.fn("demo")
    found = {each.check: each for each in examine(load_settings, deep=False)}
    assert not found["model demo"].ok and "REVS_UNSIGNED=refuse" in found["model demo"].finding
    assert "refused" in found["signer"].finding


def test_doctor_names_a_signer_s_key_that_others_can_read(here: Installation) -> None:
    (here.settings.home / "signer.pem").chmod(0o644)
    assert "chmod 600" in finding(here, "permissions")["finding"]
    assert not finding(here, "signer")["ok"]


def test_everything_opens_the_registry_with_its_signers() -> None:
    """Whoever makes a Registry himself neither signs nor verifies: only one module does."""
    import re

    root = Path(__file__).parents[3]
    makers = [
        path.relative_to(root).as_posix()
        for package in ("flows", "tasks", "infra")
        for path in (root / package).rglob("*.py")
        if re.search(r"\b(?<!Collector)Registry\(\s*[a-z]", path.read_text(encoding="utf-8"))
    ]
    assert makers == ["infra/registry/opening.py"]
