"""Who signed a version, what a version without signature is, and who else can verify one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import GOOD, document, evidence_of, strip_signature
from tampered import again, run_folder, spoil, stored

from infra.keys.signer import Signers
from infra.registry import ModelVersion, Registry, publishing, reading
from infra.registry.weights import Weights, read_weights
from revs.errors import BadInput, OperationFailed


def rotated(registry: Registry, tmp_path: Path, *, trusted: bool) -> None:
    assert registry.signers is not None
    old = tmp_path / "old.pub"
    old.write_bytes(registry.signers.public_pem())
    registry.signers = Signers(own=tmp_path / "new.pem", trusted=(old,) if trusted else ())


def test_after_a_rotation_versions_of_the_earlier_signer_are_accepted_if_it_is_named(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    rotated(registry, tmp_path, trusted=True)
    candidate = register()
    assert candidate.tags["revs.signer"] != base.tags["revs.signer"]
    assert registry.download(base) and registry.download(candidate)
    registry.signers = dataclasses.replace(registry.signers, trusted=())  # type: ignore[type-var]  # it is there
    assert registry.download(candidate)
    with pytest.raises(OperationFailed, match="is not known here"):
        registry.download(base)


def test_whoever_verifies_needs_no_private_key_and_makes_none(
    registry: Registry, base: ModelVersion, tmp_path: Path
) -> None:
    rotated(registry, tmp_path, trusted=True)
    assert registry.download(base)
    assert not (tmp_path / "new.pem").exists()


def test_a_version_that_a_key_cannot_sign_leaves_nothing(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    (tmp_path / "signer.pem").write_text("no key")
    with pytest.raises(BadInput, match=r"signer\.pem holds no private key"):
        register()
    assert [version.version for version in registry.versions("demo")] == ["1"]


# From before signatures, and stripped


@pytest.fixture
def candidate(registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]) -> ModelVersion:
    lineage = {"corpus": "ref:1", "held_out": "ref:2", "config": {"ridge": 0.1}, "code_commit": "c0ffee"}
    return register(lineage=lineage, evidence=GOOD | {"seed": 7})


def test_a_version_from_before_signatures_is_taken_unless_the_setting_refuses(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    strip_signature(registry, base)
    old = again(registry, base)
    assert registry.download(old)
    assert registry.verify(old) is None
    registry.unsigned = "refuse"
    with pytest.raises(OperationFailed, match=r"models:/demo/1 is not signed, and REVS_UNSIGNED=refuse"):
        registry.download(old)
    new = registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus")  # the remedy that the message names
    assert (new.version, registry.champion("demo").version) == ("2", "2")
    assert registry.download(new)


def test_a_version_whose_child_saw_it_signed_is_not_one_from_before(
    registry: Registry, base: ModelVersion, candidate: ModelVersion
) -> None:
    strip_signature(registry, base)
    with pytest.raises(OperationFailed, match=r"signature of models:/demo/1 is gone: version 2"):
        registry.download(again(registry, base))


def test_an_entry_made_by_hand_is_not_taken_for_what_a_batch_registers(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    run = registry._client.create_run(registry._client.get_run(base.run_id).info.experiment_id).info.run_id
    tags = {"revs.key": "candidate/demo/b1", "revs.parent": "1", "revs.batch_id": "b1"}
    registry._client.create_model_version("demo", source=base.source, run_id=run, tags=tags)
    version = register(batch_id="b1")
    assert version.version == "3" and registry.verify(version) is not None
    assert register(batch_id="b1") == version  # and the one that was made is found again


def test_a_second_entry_for_a_signed_version_is_refused(registry: Registry, base: ModelVersion) -> None:
    made = registry._client.create_model_version("demo", source=base.source, run_id=base.run_id, tags=base.tags)
    with pytest.raises(OperationFailed, match="second entry for what version 1"):
        registry.download(registry.resolve(f"models:/demo/{made.version}"))
    assert registry.download(base)


def test_a_copy_under_another_name_is_refused(registry: Registry, base: ModelVersion) -> None:
    registry._client.create_registered_model("other")
    registry._client.create_model_version("other", source=base.source, run_id=base.run_id, tags=base.tags)
    with pytest.raises(OperationFailed, match="that of another version"):
        registry.download(registry.resolve("models:/other/1"))


# Others can verify it, and it costs no second reading


def test_the_bundle_verifies_with_the_model_signing_library_alone(
    registry: Registry, candidate: ModelVersion, tmp_path: Path
) -> None:
    from model_signing.verifying import Config

    assert registry.signers is not None
    public = tmp_path / "signer.pub"
    public.write_bytes(registry.signers.public_pem())
    check = Config().use_elliptic_key_verifier(public_key=public)  # type: ignore[no-untyped-call]
    check.verify(stored(registry, candidate), run_folder(registry, candidate) / "model.sig")
    spoil("MLmodel")(registry, candidate)
    with pytest.raises(ValueError, match="MLmodel"):
        check.verify(stored(registry, candidate), run_folder(registry, candidate) / "model.sig")


def test_the_statement_says_what_the_version_was_made_from(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    corpus = {"name": "corpus", "role": "corpus", "rows": 3, "digest": "sha256:" + "ab" * 32}
    evidence = evidence_of("demo", before="1", weights_before=str(base.weights), weights_after="")
    del evidence["model"]["weights_after"]
    version = register(
        lineage={"datasets": [corpus], "config": {"ridge": 0.1}, "code_commit": "c0ffee"}, evidence=evidence
    )
    signature = registry.verify(version)
    assert signature is not None
    predicate = signature.statement["predicate"]
    assert predicate["buildDefinition"]["resolvedDependencies"] == [
        {"name": "parent", "uri": base.uri, "digest": {"sha256": str(base.weights).removeprefix("sha256:")}},
        {"name": "corpus", "digest": {"sha256": "ab" * 32}},
    ]
    assert predicate["revs_parent"]["signer"] == base.tags["revs.signer"]
    assert predicate["revs_gates"] == GOOD["gates"]
    assert predicate["runDetails"]["builder"]["version"]["commit"] == "c0ffee"
    assert document(registry._client.get_run(version.run_id), "provenance.json")


@pytest.mark.parametrize("remote", [False, True])
def test_registering_reads_the_weights_once_before_and_once_after(
    remote: bool, registry: Registry, checkpoints: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.registry import files
    from infra.registry import registry as registry_module

    read: list[str] = []

    def once(folder: Path) -> Weights:
        read.append("before")
        return read_weights(folder)

    def whole(path: Path) -> str:
        if path.suffix == ".safetensors":
            read.append("after")
        return sha(path)

    sha = files._sha256
    monkeypatch.setattr(registry_module, "read_weights", once)
    monkeypatch.setattr(files, "_sha256", whole)
    if remote:
        monkeypatch.setattr(publishing, "local_path", lambda _: None)
    version = registry.register_base(checkpoints[1], name="demo", corpus="c")
    assert read == ["before", "after"]
    monkeypatch.setattr(reading, "read_weights", once)
    read.clear()
    registry.download(version)
    assert read == ["before"]


def test_opening_the_registry_loads_no_signing_library() -> None:
    code = (
        "import sys, infra.registry, flows.cli.app; "
        "print([m for m in ('model_signing', 'sigstore', 'securesystemslib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
