"""Registering bases and candidates on real MLflow (SQLite and a local folder), with tiny random models."""

from __future__ import annotations

import errno
import json
import math
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import NO_WEIGHTS, Killed, document, stored_weights

from infra.registry import ModelVersion, Registry, publishing


def test_the_first_base_of_a_name_becomes_champion(registry: Registry, base: ModelVersion) -> None:
    assert (base.name, base.version, base.uri, base.aliases) == ("demo", "1", "models:/demo/1", ("champion",))
    assert base.tags["revs.corpus"] == "demo-corpus"
    assert base.tags["revs.recipe"] == "r1"
    assert registry.champion("demo") == base


def test_a_base_says_what_registered_it_and_when(registry: Registry, checkpoints: tuple[Path, Path]) -> None:
    from infra.registry.provenance import registered_on

    lineage = {"code_commit": "c0ffee", "versions": {"torch": "2.13.0"}}
    version = registry.register_base(checkpoints[0], name="demo", corpus="c", lineage=lineage)
    run = registry._client.get_run(version.run_id)
    assert json.loads(document(run, "lineage.json")) == lineage
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    signed = registry.verify(version)
    assert signed is not None
    details = signed.statement["predicate"]["runDetails"]
    assert details["builder"]["version"] == {"commit": "c0ffee", "versions": {"torch": "2.13.0"}}
    on, created = registered_on(signed.statement), registry.recorded(version).created
    assert on is not None and abs((created - on).total_seconds()) < 600


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
    assert registry.register_base(checkpoints[0], name="demo", corpus="demo-corpus").aliases == ("previous",)


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


def test_a_batch_registered_twice_is_one_version(register: Callable[..., ModelVersion], tmp_path: Path) -> None:
    first = register()
    assert register(evidence={"gates": []}) == first
    assert stored_weights(tmp_path) == 2  # base and candidate


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
