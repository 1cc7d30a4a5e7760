"""A registry of its own for each test, its base, and the means to register a candidate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chain_of_versions import copy_registry
from registered import GOOD, POLICY

if TYPE_CHECKING:
    from infra.registry import ModelVersion, Registry


def registry_in(folder: Path) -> Registry:
    """The registry of a folder, whose versions are signed by a key in it."""
    from infra.gates.policy import GatePolicy
    from infra.keys.signer import Signers
    from infra.registry import Registry

    return Registry(
        f"sqlite:///{folder / 'mlflow.db'}",
        (folder / "artifacts").as_uri(),
        retention_days=10,
        policy=GatePolicy.from_dict(POLICY),
        signers=Signers(own=folder / "signer.pem"),
    )


@pytest.fixture(scope="session")
def with_base(
    empty_database: Path, checkpoints: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:  # fmt: skip
    """A folder with a registry of one version; to be copied."""
    folder = tmp_path_factory.mktemp("with-base")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    registry_in(folder).register_base(checkpoints[0], name="demo", corpus="demo-corpus", tags={"recipe": "r1"})
    return folder


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Registry:
    if "base" in request.fixturenames:
        copy_registry(request.getfixturevalue("with_base"), tmp_path)
    else:
        shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return registry_in(tmp_path)


@pytest.fixture
def base(registry: Registry) -> ModelVersion:
    return registry.resolve("models:/demo/1")


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
