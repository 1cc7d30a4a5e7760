"""Versions are found again, and their weights and evidence come back as they were recorded or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from registered import PASSED, flip_last_bit

from infra.registry import ModelVersion, Registry, weight_digest
from revs.errors import BadInput, OperationFailed


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
