"""How what is stored of a registered version is changed, by whoever may write to the registry; no tests here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.registry import ModelVersion, Registry

    Change = Callable[[Registry, ModelVersion], object]


def run_folder(registry: Registry, version: ModelVersion) -> Path:
    return Path(registry._client.get_run(version.run_id).info.artifact_uri.removeprefix("file://"))


def stored(registry: Registry, version: ModelVersion) -> Path:
    folder = registry.stored_at(version)
    assert folder is not None
    return folder


def again(registry: Registry, version: ModelVersion) -> ModelVersion:
    return registry.resolve(version.uri)


def set_tag(name: str, value: str = "other") -> Change:
    return lambda registry, version: registry._client.set_model_version_tag("demo", version.version, name, value)


def drop_tag(name: str) -> Change:
    return lambda registry, version: registry._client.delete_model_version_tag("demo", version.version, name)


def spoil(name: str) -> Change:
    """One bit of a file, wherever it is stored."""

    def change(registry: Registry, version: ModelVersion) -> None:
        (path,) = [p for p in (stored(registry, version) / name, run_folder(registry, version) / name) if p.exists()]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    return change


def rewritten(change: Callable[[dict[str, Any]], object]) -> Change:
    """The evidence, and the tag that fits it: what the MLflow client can do."""

    from infra.registry.records import canonical_json, sha256

    def rewrite(registry: Registry, version: ModelVersion) -> None:
        path = run_folder(registry, version) / "evidence.json"
        evidence = json.loads(path.read_text())
        change(evidence)
        path.write_bytes(canonical_json(evidence, what="it"))
        set_tag("revs.evidence", sha256(path.read_bytes()))(registry, version)

    return rewrite


def removed(name: str) -> Change:
    return lambda registry, version: (run_folder(registry, version) / name).unlink()
