"""A registry of its own for each test, its base, and the means to register a candidate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registered import GOOD, POLICY

if TYPE_CHECKING:
    from infra.registry import ModelVersion, Registry


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> Registry:
    from infra.gates.policy import GatePolicy
    from infra.keys.signer import Signers
    from infra.registry import Registry

    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    artifacts = (tmp_path / "artifacts").as_uri()
    return Registry(
        f"sqlite:///{tmp_path / 'mlflow.db'}",
        artifacts,
        retention_days=10,
        policy=GatePolicy.from_dict(POLICY),
        signers=Signers(own=tmp_path / "signer.pem"),
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
