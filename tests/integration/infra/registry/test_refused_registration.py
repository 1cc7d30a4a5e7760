"""What is not registered, and failing surroundings: one line that says so, and nothing left behind."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registered import NO_WEIGHTS, PASSED, flip_last_bit, stored_weights

from infra.registry import ModelVersion, Registry, publishing
from infra.registry.records import lineage_tags
from infra.registry.service import failing_clearly
from revs.errors import BadInput, OperationFailed


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
