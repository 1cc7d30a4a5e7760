"""Fixtures of the tests that need a registry: two checkpoints, and an empty MLflow database to copy."""

from __future__ import annotations

from pathlib import Path

import pytest
from registered import make_checkpoint


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoint folders with different weights; read only."""
    root = tmp_path_factory.mktemp("checkpoints")
    return make_checkpoint(root / "before", 0), make_checkpoint(root / "after", 1)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables: once."""
    from infra.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    assert Registry(f"sqlite:///{path}", None)._client is not None
    return path
