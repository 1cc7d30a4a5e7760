"""What was signed of a version and is something else now is refused by name; a signature that is gone is missed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from chain_of_versions import copy_registry
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registered import GOOD, POLICY
from tampered import again, drop_tag, removed, rewritten, run_folder, set_tag, spoil, stored

from infra.gates.policy import GatePolicy
from infra.keys.signer import Signers
from infra.registry import ModelVersion, Registry
from revs.errors import OperationFailed

Change = Callable[[Registry, ModelVersion], object]


@pytest.fixture(scope="module")
def with_candidate(
    with_base: Path, checkpoints: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:  # fmt: skip
    folder = tmp_path_factory.mktemp("with-candidate")
    copy_registry(with_base, folder)
    registry = opened(folder)
    registry.register_candidate(
        checkpoints[1], parent=registry.resolve("models:/demo/1"), batch_id="b1", metrics={"after.efficacy": 95.0},
        lineage={"corpus": "ref:1", "held_out": "ref:2", "config": {"ridge": 0.1}, "code_commit": "c0ffee"},
        evidence=GOOD | {"seed": 7},
    )  # fmt: skip
    return folder


@pytest.fixture
def registry(with_candidate: Path, tmp_path: Path) -> Registry:
    copy_registry(with_candidate, tmp_path)
    return opened(tmp_path)


@pytest.fixture
def candidate(registry: Registry) -> ModelVersion:
    return registry.resolve("models:/demo/2")


def opened(folder: Path) -> Registry:
    return Registry(
        f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri(), retention_days=10,
        policy=GatePolicy.from_dict(POLICY), signers=Signers(own=folder / "signer.pem"),
    )  # fmt: skip


def weights_of_the_parent(registry: Registry, version: ModelVersion) -> None:
    parent, own = (registry.resolve(f"models:/demo/{number}") for number in ("1", version.version))
    for name in ("model/model.safetensors",):
        shutil.copyfile(stored(registry, parent) / name, stored(registry, own) / name)
    set_tag("revs.weights", str(parent.weights))(registry, version)


def signature_of_the_parent(*names: str) -> Change:
    def copy(registry: Registry, version: ModelVersion) -> None:
        for name in names:
            parent = run_folder(registry, registry.resolve("models:/demo/1"))
            shutil.copyfile(parent / name, run_folder(registry, version) / name)

    return copy


def added(registry: Registry, version: ModelVersion) -> None:
    (stored(registry, version) / "model" / "adapter_config.json").write_text("{}")


def signed_by_somebody_else(registry: Registry, version: ModelVersion) -> None:
    """The whole version again, as it is, by another installation's key."""
    own = registry.signers
    assert own is not None
    client, key = registry._client, version.tags["revs.key"]
    other = dataclasses.replace(own, own=own.own.with_name("other.pem"))
    from infra.registry import bundles

    folder = run_folder(registry, version)
    statement, _ = bundles.statement_signed((folder / "provenance.json").read_bytes(), own)
    listed = bundles.files_signed((folder / "model.sig").read_bytes(), own)
    (folder / "model.sig").write_bytes(bundles.sign_files(listed, name="demo", signers=other))
    (folder / "provenance.json").write_bytes(bundles.sign_statement(statement, other))
    client.set_model_version_tag("demo", version.version, "revs.signer", other.fingerprint())
    assert key


FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
FOLDER = ("MLmodel", "requirements.txt", "model_card.md")
TAGS = ("key", "parent", "weights", "batch_id", "files", "corpus", "held_out", "evidence", "signer")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        *((spoil(f"model/{name}"), name) for name in FILES),
        *((spoil(name), name) for name in FOLDER),
        *((spoil(name), name) for name in ("evidence.json", "lineage.json", "policy.json")),
        *((set_tag(f"revs.{tag}"), rf"tag revs\.{tag}") for tag in TAGS),
        *((drop_tag(f"revs.{tag}"), rf"tag revs\.{tag}") for tag in TAGS),
        (set_tag("revs.control", "ref:9"), r"tag revs\.control was added"),
        (spoil("model.sig"), r"model\.sig"),
        (spoil("provenance.json"), r"provenance\.json"),
        (removed("model.sig"), r"signature of models:/demo/2 is gone \(model\.sig\)"),
        (removed("provenance.json"), r"signature of models:/demo/2 is gone \(provenance\.json\)"),
        (rewritten(lambda e: e["scores"]["after"].update(efficacy=99.0)), r"evidence\.json .* scores\.after\.efficacy"),
        (rewritten(lambda e: e.update(gates=[])), r"evidence\.json was changed in gates"),
        (rewritten(lambda e: e["policy"]["efficacy"].update(low=1.0)), r"changed in policy\.efficacy\.low"),
        (rewritten(lambda e: e.update(more="x")), r"evidence\.json was changed in more"),
        (rewritten(lambda e: e.pop("seed")), r"evidence\.json was changed in seed"),
        (weights_of_the_parent, r"tag revs\.weights was changed"),
        (signature_of_the_parent("model.sig", "provenance.json"), r"that of another version \(demo, base/demo/"),
        (signature_of_the_parent("model.sig"), r"model\.sig"),
        (signature_of_the_parent("provenance.json"), r"signature is that of another version"),
        (added, r"model/adapter_config\.json"),
        (signed_by_somebody_else, r"signer [0-9a-f]{12} is not known here .*REVS_TRUSTED_SIGNERS"),
    ],
)
def test_whatever_was_signed_and_changed_is_refused_by_name(
    change: Change, named: str, registry: Registry, candidate: ModelVersion
) -> None:
    assert registry.download(candidate)
    change(registry, candidate)
    with pytest.raises(OperationFailed, match=named) as refusal:
        registry.download(again(registry, candidate))
    assert candidate.uri in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("way", ["download", "checkout", "tokenizer", "promote", "verify"])
@pytest.mark.parametrize(
    "change", [set_tag("revs.corpus"), rewritten(lambda e: e.update(seed=8)), removed("model.sig")]
)
def test_no_way_to_use_a_version_goes_round_its_signature(
    change: Change, way: str, registry: Registry, base: ModelVersion, candidate: ModelVersion, tmp_path: Path
) -> None:
    registry.checkout(candidate, tmp_path / "batch")  # what was checked before is checked again
    change(registry, candidate)
    version = again(registry, candidate)
    ways: dict[str, Callable[[], object]] = {
        "download": lambda: registry.download(version),
        "checkout": lambda: registry.checkout(version, tmp_path / "batch"),
        "tokenizer": lambda: registry.tokenizer(version, tmp_path / "tokenizer"),
        "promote": lambda: registry.promote(version, expected_champion=base),
        "verify": lambda: registry.verify(version),
    }
    with pytest.raises(OperationFailed, match=r"not what was signed|signature of models:/demo/2"):
        ways[way]()
    assert registry.champion("demo").version == "1"


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("how", ["download", "checkout", "tokenizer"])
@pytest.mark.parametrize(
    ("name", "seen_by"),
    [
        ("model.safetensors.index.json", {"download", "checkout", "tokenizer"}),
        ("model-00002-of-", {"download", "checkout"}),
        ("config.json", {"download", "checkout", "tokenizer"}),
    ],
)
def test_of_a_model_in_several_files_each_is_signed(
    name: str, seen_by: set[str], how: str, remote: bool, registry: Registry, checkpoints: tuple[Path, Path],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(checkpoints[0], tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(checkpoints[0]).save_pretrained(folder, max_shard_size="20KB")
    version = registry.register_base(folder, name="sharded", corpus="c")
    (path,) = (stored(registry, version) / "model").glob(f"{name}*")
    if remote:
        monkeypatch.setattr("infra.registry.copies.local_path", lambda _: None)
    ways: dict[str, Callable[[], Path]] = {
        "download": lambda: registry.download(version),
        "checkout": lambda: registry.checkout(version, tmp_path / "batch"),
        "tokenizer": lambda: registry.tokenizer(version, tmp_path / "tokenizer"),
    }
    assert ways[how]().is_dir()
    spoil(f"model/{path.name}")(registry, version)
    shutil.rmtree(tmp_path / "batch", ignore_errors=True)
    shutil.rmtree(tmp_path / "tokenizer", ignore_errors=True)
    if how in seen_by:
        with pytest.raises(OperationFailed, match=path.name):
            ways[how]()
    else:
        assert ways[how]().is_dir()


def test_a_copy_that_was_checked_without_its_signature_is_checked_again(
    registry: Registry, base: ModelVersion, tmp_path: Path
) -> None:
    spoil("MLmodel")(registry, base)
    assert Registry(registry.tracking_uri, None).checkout(base, tmp_path / "batch")  # as a program from before does
    with pytest.raises(OperationFailed, match="MLmodel"):
        registry.checkout(base, tmp_path / "batch")


def test_what_changes_by_design_leaves_the_signature_whole(
    registry: Registry, base: ModelVersion, candidate: ModelVersion
) -> None:
    registry.promote(candidate, expected_champion=base, approved_by="A. Officer")
    registry.attach_report(candidate, {"report.json": b"{}"})
    registry.declare_root(base, instead_of=None, supersedes=["b1"], approved_by="A. Officer")
    for version in (base, candidate):
        assert registry.verify(again(registry, version)) is not None
        assert registry.download(again(registry, version))


def test_loading_by_name_through_mlflow_leaves_the_signature_whole(registry: Registry, base: ModelVersion) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    try:
        mlflow.set_tracking_uri(registry.tracking_uri)
        mlflow.set_registry_uri(registry.tracking_uri)
        mlflow.artifacts.download_artifacts("models:/demo/1")
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
    assert (stored(registry, base) / "registered_model_meta").is_file()  # which MLflow writes there
    assert registry.download(base)


@pytest.fixture
def small(registry: Registry, base: ModelVersion) -> tuple[Registry, ModelVersion, list[tuple[Path, bytes]]]:
    version = base
    paths = [*stored(registry, version).rglob("*"), *run_folder(registry, version).rglob("*")]
    return registry, version, [(path, path.read_bytes()) for path in sorted(paths) if path.is_file()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_single_byte_that_is_another_is_refused(
    data: st.DataObject, small: tuple[Registry, ModelVersion, list[tuple[Path, bytes]]]
) -> None:
    registry, version, files = small
    path, content = data.draw(st.sampled_from(files), label="file")
    place = data.draw(st.integers(0, len(content) - 1), label="place")
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]), label="byte")
    path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
    try:
        with pytest.raises(OperationFailed):
            registry.download(version)
    finally:
        path.write_bytes(content)


def test_no_byte_of_the_envelope_can_be_another(registry: Registry, base: ModelVersion) -> None:
    """Also none that says the same to a reader of JSON or base64."""
    from infra.registry.bundles import Unsigned, statement_signed

    assert registry.signers is not None
    data = (run_folder(registry, base) / "provenance.json").read_bytes()
    assert statement_signed(data, registry.signers)
    changed = [
        data[:place] + bytes([(data[place] + step) % 256]) + data[place + 1 :]
        for place in range(len(data))
        for step in (1, 255)
    ]
    for text in (*changed, data + b"\n", b" " + data, data[:-1] + b',"more":1}', data[1:], b"", b"[]"):
        with pytest.raises(Unsigned):
            statement_signed(text, registry.signers)


def test_a_list_of_files_that_was_changed_is_signed_by_nobody(tmp_path: Path) -> None:
    import base64

    from infra.registry.bundles import Unsigned, files_signed, root_of, sign_files

    signers = Signers(own=tmp_path / "signer.pem")
    files, other = {"model/a.json": "aa" * 32, "MLmodel": "bb" * 32}, {"model/a.json": "cc" * 32, "MLmodel": "bb" * 32}
    bundle = json.loads(sign_files(files, name="demo", signers=signers))
    assert files_signed(json.dumps(bundle).encode(), signers) == files
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert statement["subject"] == [{"name": "demo", "digest": {"sha256": root_of(files)}}]
    statement["subject"][0]["digest"]["sha256"] = root_of(other)
    for entry in statement["predicate"]["resources"]:
        entry["digest"] = other[entry["name"]]
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    with pytest.raises(Unsigned, match="is not what was signed"):
        files_signed(json.dumps(bundle).encode(), signers)
