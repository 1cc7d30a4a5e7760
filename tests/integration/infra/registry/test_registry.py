"""The registry on real MLflow (SQLite and a local folder), with tiny random models made on the spot."""

from __future__ import annotations

import errno
import json
import math
import shutil
import socket
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import GOOD, PASSED, POLICY, flip_last_bit

from infra.gates.policy import GatePolicy
from infra.registry import ModelVersion, Registry, publishing, weight_digest
from infra.registry.records import lineage_tags
from infra.registry.service import failing_clearly
from revs.errors import BadInput, GateRefused, OperationFailed

NO_WEIGHTS = "sha256:" + "0" * 64


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    artifacts = (tmp_path / "artifacts").as_uri()
    return Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}", artifacts, retention_days=10, policy=GatePolicy.from_dict(POLICY)
    )


@pytest.fixture
def base(registry: Registry, checkpoints: tuple[Path, Path]) -> ModelVersion:
    return registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus", tags={"recipe": "r1"})


@pytest.fixture
def register(registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]) -> Callable[..., ModelVersion]:
    def call(batch_id: str = "b1", **changes: Any) -> ModelVersion:
        arguments: dict[str, Any] = {
            "parent": base,
            "lineage": {"config": {"keys": {"ridge": 0.1}}, "requests": ["aa", "bb"], "code_commit": "c0ffee"},
            "metrics": {"after.efficacy": 95.0},
            "evidence": GOOD,
        }
        return registry.register_candidate(checkpoints[1], batch_id=batch_id, **(arguments | changes))

    return call


def stored_weights(tmp_path: Path) -> int:
    return len(list((tmp_path / "artifacts").rglob("*.safetensors")))


# Registering


def test_the_first_base_of_a_name_becomes_champion(registry: Registry, base: ModelVersion) -> None:
    assert (base.name, base.version, base.uri, base.aliases) == ("demo", "1", "models:/demo/1", ("champion",))
    assert base.tags["revs.corpus"] == "demo-corpus"
    assert base.tags["revs.recipe"] == "r1"
    assert registry.champion("demo") == base


def test_the_same_weights_are_registered_once(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    assert registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus") == base
    assert stored_weights(tmp_path) == 1


def test_another_base_does_not_take_the_champion_away(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    other = registry.register_base(checkpoints[1], name="demo", corpus="demo-corpus")
    assert (other.version, other.aliases) == ("2", ())
    assert registry.champion("demo") == base


def test_a_superseded_base_does_not_become_champion_again(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], checkpoints: tuple[Path, Path]
) -> None:
    registry.promote(register(), expected_champion=base)
    registry._client.delete_registered_model_alias("demo", "champion")
    assert registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus").aliases == ()


def test_a_base_killed_before_its_alias_gets_it_on_the_second_call(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    registry._client.delete_registered_model_alias("demo", "champion")
    registry._client.set_model_version_tag("demo", "1", "revs.status", "registered")
    assert registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus") == base


def test_a_candidate_carries_its_lineage(registry: Registry, register: Callable[..., ModelVersion]) -> None:
    digest = "sha256:" + "ab" * 32
    lineage = {
        "config": {"method": "revs", "keys": {"ridge": 0.1}},
        "requests": ["aa", "bb"],
        "code_commit": "c0ffee",
        "weights_before": NO_WEIGHTS,
        "seed": 7,
        "datasets": [{"name": "corpus", "role": "corpus", "rows": 12, "digest": digest}],
    }
    version = register(lineage=lineage, metrics={"after.efficacy": 95.0, "after.delta": math.nan})
    assert (version.version, version.aliases) == ("2", ())
    assert version.tags["revs.parent"] == "1"
    assert version.tags["revs.batch_id"] == "b1"
    run = registry._client.get_run(version.run_id)
    assert json.loads(document(run, "lineage.json")) == lineage
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"config.method": "revs", "config.keys.ridge": "0.1", "parent": "1"}
    assert run.data.metrics == {"after.efficacy": 95.0}
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest == "ab" * 18
    assert {tag.key: tag.value for tag in dataset.tags}["revs.digest"] == digest


def document(run: Any, name: str) -> bytes:
    """An artifact of a run in a local store."""
    return (Path(run.info.artifact_uri.removeprefix("file://")) / name).read_bytes()


def test_a_candidate_carries_the_tags_that_are_read_and_no_others(register: Callable[..., ModelVersion]) -> None:
    lineage = {"requests": ["aa"], "config": {"method": "revs"}, "seed": 7, "code_commit": "c0ffee", "corpus": "ref:1"}
    tags = register(lineage=lineage).tags
    assert set(tags) == {f"revs.{name}" for name in (
        "key", "status", "weights", "files", "parent", "batch_id", "evidence", "corpus",
    )}  # fmt: skip
    assert tags["revs.corpus"] == "ref:1"


def test_the_pages_of_mlflow_tell_what_a_version_is(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    client = registry._client
    scores = {"before": {"efficacy": 3.25}, "after": {"efficacy": 95.0}}
    evidence = GOOD | {"scores": scores, "targets": {"memorised_before": 9, "memorised_after": 0}}
    run = {"id": "7f0c", "page": "https://prefect.example.com/runs/flow-run/7f0c"}
    version = register(evidence=evidence, metrics={"efficacy": 95.0}, run=run)

    said = client.get_model_version("demo", version.version).description
    for wanted in (
        "Made from version 1 by batch `b1`",
        "Memorised contexts: 9 before, 0 after",
        "[7f0c](https://prefect.example.com/runs/flow-run/7f0c)",
        "| efficacy | 3.25 | 95 |",
        "| efficacy | 95 | ≥ 90 | passed |",
    ):
        assert wanted in said
    assert "champion" in client.get_registered_model("demo").description
    assert "no gate judged it" in client.get_model_version("demo", base.version).description
    shown = client.get_run(version.run_id)
    assert shown.data.tags["mlflow.note.content"] == said
    assert (shown.data.tags["prefect.flow_run_id"], shown.data.tags["prefect.flow_run_url"]) == (run["id"], run["page"])
    assert not [name for name, text in shown.data.tags.items() if str(tmp_path) in text]
    compared = {
        "efficacy": 95.0,
        "before/efficacy": 3.25,
        "contexts/memorised_before": 9,
        "contexts/memorised_after": 0,
    }
    assert shown.data.metrics == compared
    assert json.loads(document(shown, "policy.json")) == POLICY

    registry.promote(version, expected_champion=base)
    registry.promote(version, expected_champion=base)
    assert client.get_model_version("demo", version.version).description == f"{said}\nBecame champion by its gates.\n"


def test_a_description_fits_every_store_of_mlflow() -> None:
    from infra.registry.describing import candidate

    many = {f"metric_{number}": 1 / (number + 1) for number in range(900)}
    text = candidate("1", "b1", GOOD | {"scores": {"before": many, "after": many}}, {})
    assert len(text) <= 4_500 and "| efficacy | 95 | ≥ 90 | passed |" in text


def test_a_dataset_says_honestly_that_it_is_kept_elsewhere(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    import mlflow

    datasets = [{"name": "corpus", "role": "corpus", "rows": 12, "digest": "sha256:" + "ab" * 32}]
    run = registry._client.get_run(register(lineage={"datasets": datasets}).run_id)
    source = mlflow.data.get_source(run.inputs.dataset_inputs[0].dataset)
    assert "stand-in" in source.to_dict()["tags"]["note"]


def test_the_model_comes_with_a_card_and_an_example(registry: Registry, base: ModelVersion) -> None:
    folder = registry.download(base).parent
    assert "no gate judged it" in (folder / "model_card.md").read_text(encoding="utf-8")
    from mlflow.models import Model

    model = Model.load(str(folder))
    assert model.load_input_example(str(folder)) == "The weather in the valley was mild and"
    assert model.signature.inputs.input_types()[0].name == "string"


def test_the_outcome_of_a_batch_is_stored_with_its_run(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    version = register()
    for text in (b"waiting", b"completed"):
        registry.attach(version, {"status.json": text})
    assert document(registry._client.get_run(version.run_id), "status.json") == b"completed"
    assert registry.evidence(version) is not None


def test_a_batch_registered_twice_is_one_version(register: Callable[..., ModelVersion], tmp_path: Path) -> None:
    first = register()
    assert register(evidence={"gates": []}) == first
    assert stored_weights(tmp_path) == 2  # base and candidate


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.mark.parametrize("step", ["_record", "_store", "_create_version"])
def test_a_batch_killed_while_registering_is_registered_once(
    step: str,
    registry: Registry,
    base: ModelVersion,
    register: Callable[..., ModelVersion],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(publishing, step, killed)
        patch.setattr(publishing, "_discard", killed)  # SIGKILL leaves no time to tidy up
        with pytest.raises(Killed):
            register()
    assert registry.champion("demo") == base
    version = register()
    assert version.version == "2"
    assert stored_weights(tmp_path) == 2
    (experiment,) = registry._client.search_experiments(filter_string="name = 'revs'")
    assert len(registry._client.search_runs([experiment.experiment_id])) == 2
    assert len(registry._client.search_logged_models([experiment.experiment_id])) == 2


def test_an_interruption_after_the_version_exists_does_not_remove_its_files(
    registry: Registry,
    register: Callable[..., ModelVersion],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create = publishing._create_version

    def interrupted(*arguments: Any) -> str:
        create(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(publishing, "_create_version", interrupted)
        with pytest.raises(KeyboardInterrupt):
            register()
    version = register()
    assert version.version == "2"
    assert registry.download(version).is_dir()


def test_only_the_models_own_files_are_stored(
    registry: Registry, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints[0], tmp_path / "messy")
    for stray in ("train.jsonl", "notes.txt", "optimizer.pt", "pytorch_model.bin"):
        (folder / stray).write_text("people")
    (folder / "checkpoint-10").mkdir()
    (folder / "checkpoint-10" / "train.jsonl").write_text("people")
    version = registry.register_base(folder, name="messy", corpus="c")
    stored = {path.name for path in registry.download(version).iterdir()}
    assert stored == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert not any(path.is_symlink() for path in (tmp_path / "artifacts").rglob("*"))


def test_a_registered_version_loads_through_mlflow(registry: Registry, base: ModelVersion) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    pipeline = mlflow.transformers.load_model(base.source)
    assert pipeline.task == "text-generation"
    assert type(pipeline.model).__name__ == "LlamaForCausalLM"
    assert mlflow.get_tracking_uri() == before  # the registry leaves process-wide settings alone


def test_registering_needs_no_network(
    registry: Registry, checkpoints: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def refuse(*address: object) -> None:
        tried.append(address)
        raise OSError(errno.ENETUNREACH, "no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    registry.register_base(checkpoints[0], name="offline", corpus="c")
    assert tried == []


# Bad input and failing surroundings


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: folder.joinpath(name).write_text(text) and None


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (remove("config.json"), "config.json"),
        (remove("model.safetensors"), "safetensors"),
        (write("config.json", "{"), "config.json"),
        (write("config.json", "[]"), "config.json"),
        (write("config.json", '{"architectures": ["BertForMaskedLM"]}'), "causal"),
        (write("model.safetensors", "not a tensor"), "safetensors"),
        (shutil.rmtree, "not a folder"),
    ],
    ids=["no config", "no weights", "half a config", "a list", "no causal model", "damaged weights", "no folder"],
)
def test_a_folder_that_is_no_causal_model_is_refused_in_one_line(
    spoil: Callable[[Path], None], named: str, registry: Registry, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints[0], tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(BadInput, match=named) as refusal:
        registry.register_base(folder, name="spoilt", corpus="c")
    assert "\n" not in str(refusal.value)


def test_a_folder_without_a_tokenizer_is_refused_and_leaves_nothing(
    registry: Registry, checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoints[0], tmp_path / "mute")
    remove("tokenizer.json")(folder)
    remove("tokenizer_config.json")(folder)
    with pytest.raises(BadInput, match="tokenizer"):
        registry.register_base(folder, name="mute", corpus="c")
    assert stored_weights(tmp_path) == 0


@pytest.mark.parametrize("name", ["", "a/b", "x'; drop", "models:/demo", "é" * 3, "a" * 101])
def test_a_name_that_could_break_a_query_is_refused(
    name: str, registry: Registry, checkpoints: tuple[Path, Path]
) -> None:
    with pytest.raises(BadInput):
        registry.register_base(checkpoints[0], name=name, corpus="c")


@pytest.mark.parametrize("where", ["lineage", "evidence"])
def test_weights_other_than_those_tested_are_refused(where: str, register: Callable[..., ModelVersion]) -> None:
    claims = {
        "lineage": {"lineage": {"weights_after": NO_WEIGHTS}},
        "evidence": {"evidence": {"gates": PASSED, "model": {"weights_after": NO_WEIGHTS}}},
    }
    with pytest.raises(BadInput, match=where):
        register(**claims[where])


def test_lineage_cannot_overwrite_what_the_registry_records() -> None:
    with pytest.raises(BadInput, match=r"revs\.weights"):
        lineage_tags({"weights": NO_WEIGHTS})


def test_lineage_too_long_for_a_tag_is_replaced_by_its_digest() -> None:
    tags = lineage_tags({"requests": ["ab" * 32] * 500})
    assert tags["revs.requests"].startswith("sha256:")


def test_evidence_with_nan_is_refused_without_quoting_it(register: Callable[..., ModelVersion]) -> None:
    with pytest.raises(BadInput, match="canonical JSON"):
        register(evidence={"gates": PASSED, "scores": {"after": {"delta": math.nan}}})


def test_a_disk_that_fills_up_while_registering_leaves_nothing(
    registry: Registry,
    base: ModelVersion,
    register: Callable[..., ModelVersion],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def half(self: LocalArtifactRepository, local_dir: str, artifact_path: str | None = None) -> None:
        target = Path(self.artifact_dir) / "model" / "model.safetensors"
        target.parent.mkdir(parents=True)
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    with monkeypatch.context() as patch:
        patch.setattr(LocalArtifactRepository, "log_artifacts", half)
        with pytest.raises(OperationFailed, match="no space left on device") as failure:
            register()
    assert "\n" not in str(failure.value)
    assert "champion is untouched" in str(failure.value)
    assert stored_weights(tmp_path) == 1
    assert registry.champion("demo") == base
    assert [v.version for v in registry._client.search_model_versions("name = 'demo'")] == [1]
    assert register().version == "2"


def test_too_little_space_is_told_before_anything_is_copied(
    register: Callable[..., ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> Any:
        return shutil._ntuple_diskusage(1, 1, 0)

    monkeypatch.setattr(publishing.shutil, "disk_usage", full)
    with pytest.raises(OperationFailed, match="MB needed"):
        register()
    assert stored_weights(tmp_path) == 1


def test_bytes_that_change_on_the_way_are_not_registered(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = publishing.fetch

    def flipped(*arguments: Any) -> Path:
        folder = fetch(*arguments)
        flip_last_bit(folder / "model" / "model.safetensors")
        return folder

    monkeypatch.setattr(publishing, "fetch", flipped)
    with pytest.raises(OperationFailed, match="differ"):
        register()
    assert registry.champion("demo") == base


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError(errno.ENOSPC, "x", "/secret"), "no space left on device"),
        (shutil.Error([("a", "b", "[Errno 28] No space left on device: '/secret'")]), "no space left on device"),
        (FileNotFoundError(errno.ENOENT, "x", "/secret"), "no such file or directory"),
    ],
)
def test_a_failure_is_told_in_one_line_without_what_it_quotes(error: OSError, shown: str) -> None:
    with pytest.raises(OperationFailed) as failure, failing_clearly("copying", safe="all is safe"):
        raise error
    assert str(failure.value) == f"copying failed: {shown}; all is safe"
    assert failure.value.__cause__ is None


# Finding


@pytest.mark.parametrize("uri", ["demo", "models:/demo/1", "models:/demo@champion", "models:/demo"])
def test_a_version_is_found_by_name_number_and_alias(uri: str, registry: Registry, base: ModelVersion) -> None:
    assert registry.resolve(uri) == base


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("nobody", "registered are: demo"),
        ("models:/demo/7", "versions: 1"),
        ("models:/demo@staging", r"champion \(version 1\)"),
        ("models:/demo/latest", "models:/NAME/3"),
        ("demo/1", "models:/NAME/3"),
        ("/some/folder", "models:/NAME/3"),
    ],
)
def test_an_unknown_model_is_refused_naming_what_exists(
    uri: str, named: str, registry: Registry, base: ModelVersion
) -> None:
    with pytest.raises(BadInput, match=named):
        registry.resolve(uri)


def test_a_download_of_a_local_store_is_no_copy(registry: Registry, base: ModelVersion, tmp_path: Path) -> None:
    folder = registry.download(base)
    assert folder.is_relative_to(tmp_path / "artifacts")
    assert weight_digest(folder) == base.weights


def test_a_download_elsewhere_is_a_copy(registry: Registry, base: ModelVersion, tmp_path: Path) -> None:
    folder = registry.download(base, into=tmp_path / "copy")
    assert folder.is_relative_to(tmp_path / "copy")
    assert weight_digest(folder) == base.weights


@pytest.mark.parametrize("spoil", [flip_last_bit, Path.unlink], ids=["one bit", "removed"])
def test_stored_weights_that_changed_are_not_handed_out(
    spoil: Callable[[Path], None], registry: Registry, base: ModelVersion
) -> None:
    spoil(registry.download(base) / "model.safetensors")
    with pytest.raises(OperationFailed, match="changed after they were registered"):
        registry.download(base)


# Promoting


def test_a_promotion_moves_the_alias_and_marks_the_old_version(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    registry.promote(candidate, expected_champion=base, retire_on=date(2026, 12, 31))
    champion, old = registry.champion("demo"), registry.resolve("models:/demo/1")
    assert (champion.version, champion.aliases, champion.tags["revs.status"]) == ("2", ("champion",), "champion")
    assert old.aliases == ()
    assert old.tags["revs.status"] == "superseded"
    assert old.tags["revs.superseded_by"] == "2"
    assert old.tags["revs.retire_on"] == "2026-12-31"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ({"retire_on": "2027-01-05"}, date(2027, 1, 5)),
        ({"retire_on": None}, None),
        ({}, None),
    ],
)
def test_the_date_of_retirement_is_the_evidences_or_the_retention(
    model: dict[str, Any],
    expected: date | None,
    registry: Registry,
    base: ModelVersion,
    register: Callable[..., ModelVersion],
) -> None:
    registry.promote(register(evidence=GOOD | {"model": model}), expected_champion=base)
    retire_on = date.fromisoformat(registry.resolve("models:/demo/1").tags["revs.retire_on"])
    assert retire_on == (expected or datetime.now(UTC).date() + timedelta(days=10))


def test_a_promotion_killed_after_the_alias_is_finished_by_the_second_call(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    candidate = register()
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_mark_superseded", killed)
        with pytest.raises(Killed):
            registry.promote(candidate, expected_champion=base)
    assert registry.champion("demo").version == "2"
    registry.promote(candidate, expected_champion=base)
    assert registry.resolve("models:/demo/1").tags["revs.status"] == "superseded"


def test_a_second_promotion_does_not_put_the_retirement_off(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    registry.promote(candidate, expected_champion=base, retire_on=date(2026, 12, 1))
    registry.promote(candidate, expected_champion=base, retire_on=date(2030, 1, 1))
    assert registry.resolve("models:/demo/1").tags["revs.retire_on"] == "2026-12-01"


def test_a_champion_that_moved_meanwhile_stays(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    first, second = register("b1"), register("b2")
    registry.promote(first, expected_champion=base)
    with pytest.raises(OperationFailed, match="champion of 'demo' is version 2, not version 1"):
        registry.promote(second, expected_champion=base)
    assert registry.champion("demo").version == first.version


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        GOOD | {"gates": []},
        GOOD | {"gates": [*PASSED, {"name": "delta", "value": None, "bound": "≥ 0", "passed": False}]},
        GOOD | {"gates": [{"name": "efficacy", "value": 95.0, "bound": "≥ 90"}]},
        GOOD | {"gates": [{"name": "efficacy", "value": 95.0, "bound": "≥ 90", "passed": "yes"}]},
    ],
    ids=["no evidence", "no gates", "one failed", "no verdict", "a verdict in words"],
)
def test_a_candidate_without_passed_gates_is_refused(
    evidence: dict[str, Any], registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    with pytest.raises(GateRefused):
        registry.promote(register(evidence=evidence), expected_champion=base)
    assert registry.champion("demo") == base


def test_a_base_cannot_be_promoted_without_gates(
    registry: Registry, base: ModelVersion, checkpoints: tuple[Path, Path]
) -> None:
    other = registry.register_base(checkpoints[1], name="demo", corpus="c")
    with pytest.raises(GateRefused, match="no gate results"):
        registry.promote(other, expected_champion=base)


def test_a_candidate_is_promoted_only_over_the_version_it_was_compared_with(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    first, second = register("b1"), register("b2")
    registry.promote(first, expected_champion=base)
    with pytest.raises(GateRefused, match="made from and compared with version 1"):
        registry.promote(second, expected_champion=first)


def test_a_candidate_whose_weights_changed_is_not_promoted(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    candidate = register()
    flip_last_bit(registry.download(candidate) / "model.safetensors")
    with pytest.raises(OperationFailed, match="changed after they were registered"):
        registry.promote(candidate, expected_champion=base)
    assert registry.champion("demo") == base


# Evidence


def test_evidence_comes_back_as_it_was_recorded(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion]
) -> None:
    evidence = {"gates": PASSED, "targets": {"memorised_after": 0}, "notes": ["≥ ü"]}
    assert registry.evidence(register(evidence=evidence)) == evidence
    assert registry.evidence(base) is None


def test_evidence_that_was_changed_is_not_believed(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    candidate = register(evidence={"gates": []})
    (path,) = (tmp_path / "artifacts").rglob("evidence.json")
    path.write_text(json.dumps({"gates": PASSED}))
    with pytest.raises(OperationFailed, match="changed after it was recorded"):
        registry.promote(candidate, expected_champion=base)


# The digest


def write_safetensors(path: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


A, B = ("F32", [2], b"\1" * 8), ("F32", [1, 2], b"\2" * 8)


def test_a_digest_does_not_depend_on_sharding_or_order(tmp_path: Path) -> None:
    whole, turned, shards = tmp_path / "whole", tmp_path / "turned", tmp_path / "shards"
    for folder in (whole, turned, shards):
        folder.mkdir()
    write_safetensors(whole / "model.safetensors", {"a": A, "b": B})
    write_safetensors(turned / "model.safetensors", {"b": B, "a": A})
    write_safetensors(shards / "model-00001-of-00002.safetensors", {"b": B})
    write_safetensors(shards / "model-00002-of-00002.safetensors", {"a": A})
    assert weight_digest(whole) == weight_digest(turned) == weight_digest(shards)


@pytest.mark.parametrize(
    "changed",
    [
        {"a": A, "c": B},
        {"a": A, "b": ("F32", [2, 1], B[2])},
        {"a": A, "b": ("I32", [1, 2], B[2])},
        {"a": A, "b": ("F32", [1, 2], b"\2" * 7 + b"\3")},
        {"a": B, "b": A},
        {"a": A},
    ],
    ids=["name", "shape", "dtype", "one byte", "swapped", "missing"],
)
def test_a_digest_notices_every_change(tmp_path: Path, changed: dict[str, Any]) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"a": A, "b": B})
    before = weight_digest(tmp_path)
    write_safetensors(tmp_path / "model.safetensors", changed)
    assert weight_digest(tmp_path) != before


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("model.safetensors", "copy.safetensors"):
        write_safetensors(tmp_path / name, {"a": A})
    with pytest.raises(BadInput, match="two"):
        weight_digest(tmp_path)


@pytest.mark.parametrize("keep", [0, 7, 20, -1], ids=["empty", "no header", "half a header", "data cut"])
def test_a_damaged_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": A})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        weight_digest(tmp_path)
