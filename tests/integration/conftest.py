"""Fixtures of the tests that need a registry or a server: two checkpoints, an empty MLflow database, S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_of_versions import copied, opened
from registered import Installation, make_checkpoint


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


@pytest.fixture(scope="session")
def homes(
    empty_database: Path, checkpoints: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path, tuple[str, str]]:
    """A home with version 1 of "demo" as champion, one with two completed batches more, and their ids; to be copied."""
    from tasks.versions.served import FIRST

    root = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        settings, store, registry = opened(root / "one", patch, empty_database)
        base = registry.register_base(checkpoints[0], name="demo", corpus="corpus.txt")
        store.record(FIRST, detail={"version": base.uri})
        store.close()
        settings, store, registry = copied(root / "one", root / "three", patch)
        here = Installation(settings, store, registry, checkpoints)
        batches = here.batch("one", checkpoints[1])[1], here.batch("two", checkpoints[0])[1]
        store.close()
    return root / "one", root / "three", batches


@pytest.fixture
def here(
    homes: tuple[Path, Path, tuple[str, str]], checkpoints: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
) -> Installation:  # fmt: skip
    """A home with version 1 of "demo" as champion; promotion asks for efficacy alone."""
    template = homes["two_batches" in request.fixturenames]
    settings, store, registry = copied(template, tmp_path / "home", monkeypatch)
    return Installation(settings, store, registry, checkpoints)


@pytest.fixture
def two_batches(here: Installation, homes: tuple[Path, Path, tuple[str, str]]) -> tuple[str, str]:
    """Versions 2 and 3, each of a completed batch, stand in `here`; returns the ids of the batches."""
    return homes[2]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server on this machine that speaks the S3 protocol."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint and keys of that server in the environment, as a user of AWS has them."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
