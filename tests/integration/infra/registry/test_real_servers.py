"""The registry on an MLflow server as teams have it: PostgreSQL behind it, files in S3, users with few rights."""

from __future__ import annotations

import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from registered import GOOD, POLICY

from infra.gates.policy import GatePolicy
from infra.keys.signer import Signers
from infra.registry import ModelVersion, Registry
from infra.running.children import Children, answers
from infra.settings import Settings
from revs.errors import OperationFailed

pytestmark = pytest.mark.long  # each call checks a password, which takes the server its time

PASSWORD = secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Server:
    """An MLflow server that can be stopped and started again, and the bucket behind it."""

    url: str
    bucket: Any
    start: Callable[[], None]
    stop: Callable[[], None]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(
    endpoint: str, new_postgres: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    bucket = boto3.resource(
        "s3", endpoint_url=endpoint, aws_access_key_id="testing", aws_secret_access_key="testing",
        region_name="us-east-1",
    ).create_bucket(Bucket="models")  # fmt: skip
    bucket.Versioning().enable()
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = admin\n"
        f"admin_password = {PASSWORD}\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = dict(os.environ) | keys | {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        "MLFLOW_BACKEND_STORE_URI": new_postgres(), "MLFLOW_S3_ENDPOINT_URL": endpoint,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--app-name", "basic-auth", "--artifacts-destination", "s3://models/files", "--uvicorn-opts",
        "--log-level warning",
    ]  # fmt: skip
    running: list[Children] = []

    def start() -> None:
        children = Children(folder / "logs", threading.Event())
        running.append(children)
        children.start("mlflow", command, environment)
        children.wait_until("mlflow", lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=300)

    def stop() -> None:
        running.pop().close()

    start()
    for name in ("pipeline", "reader"):
        made = httpx.post(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/users/create", auth=("admin", PASSWORD), trust_env=False,
            json={"username": name, "password": PASSWORD},
        )  # fmt: skip
        made.raise_for_status()
    try:
        yield Server(f"http://127.0.0.1:{port}", bucket, start, stop)
    finally:
        while running:
            stop()


@pytest.fixture(autouse=True)
def as_user(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a user of the server the one of this process; from the beginning that is "pipeline", who is no admin."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    def become(name: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)

    become("pipeline")
    return become


@pytest.fixture
def new_host(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Registry]:
    """Makes the registry as another machine sees it: a home of its own, the same server, the same signer."""

    def new(name: str) -> Registry:
        (home := tmp_path / name).mkdir(exist_ok=True)
        settings = Settings(home=home, mlflow_tracking_uri=server.url)
        return Registry(
            settings.tracking_uri, settings.artifact_uri, policy=GatePolicy.from_dict(POLICY),
            signers=Signers(own=tmp_path / "signer.pem"), unsigned="refuse",
        )  # fmt: skip

    return new


def candidate_of(registry: Registry, base: ModelVersion, folder: Path, batch_id: str = "b1") -> ModelVersion:
    return registry.register_candidate(
        folder, parent=base, batch_id=batch_id, lineage={"requests": ["aa"]}, metrics={"efficacy": 95.0}, evidence=GOOD
    )


def test_what_one_host_registers_another_verifies_promotes_and_takes_back(
    new_host: Callable[[str], Registry], checkpoints: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = new_host("one"), new_host("two")
    base = one.register_base(checkpoints[0], name="shared", corpus="corpus")
    candidate = candidate_of(one, base, checkpoints[1])
    assert candidate.source.startswith("mlflow-artifacts:")
    for version in (base, candidate):
        assert str(tmp_path) not in str(version), "no path of a client's own disk"
    seen = two.resolve(candidate.uri)
    copy = two.download(seen, into=tmp_path / "two" / "copy")
    names = sorted(path.name for path in checkpoints[1].iterdir())
    assert [(copy / name).read_bytes() == (checkpoints[1] / name).read_bytes() for name in names] == [True] * len(names)
    two.promote(seen, expected_champion=two.champion("shared"))
    assert one.champion("shared").version == "2"
    one.reinstate(one.resolve(base.uri), instead_of=candidate)
    assert (two.champion("shared").version, two.previous("shared")) == ("1", two.resolve(candidate.uri))


def test_weights_that_were_changed_in_the_bucket_are_refused_by_name(
    new_host: Callable[[str], Registry], server: Server, checkpoints: tuple[Path, Path]
) -> None:
    registry = new_host("one")
    version = registry.register_base(checkpoints[0], name="changed", corpus="corpus")
    stored = version.source.removeprefix("mlflow-artifacts:/")
    (weights,) = [o for o in server.bucket.objects.all() if stored in o.key and o.key.endswith("model.safetensors")]
    data = bytearray(weights.get()["Body"].read())
    data[-1] ^= 1
    weights.put(Body=bytes(data))
    with pytest.raises(OperationFailed, match=f"the weights of {version.uri} changed"):
        registry.download(version)


def test_a_user_who_may_only_read_changes_nothing_and_is_told_in_a_line(
    new_host: Callable[[str], Registry], checkpoints: tuple[Path, Path], as_user: Callable[[str], None]
) -> None:
    registry = new_host("one")
    base = registry.register_base(checkpoints[0], name="guarded", corpus="corpus")
    candidate = candidate_of(registry, base, checkpoints[1])
    as_user("reader")
    assert registry.verify(registry.resolve(candidate.uri)) is not None
    with pytest.raises(OperationFailed, match="promoting models:/guarded/2 failed: permission denied") as error:
        registry.promote(candidate, expected_champion=base)
    assert "\n" not in str(error.value)
    assert registry.champion("guarded").version == "1"
    as_user("nobody")
    with pytest.raises(OperationFailed, match="asking the registry failed: unauthenticated"):
        registry.champion("guarded")


@pytest.mark.parametrize("step", ["log_model_artifacts", "create_model_version", "set_registered_model_alias"])
def test_a_server_that_dies_on_the_way_leaves_the_champion_and_the_same_call_finishes_later(
    step: str, new_host: Callable[[str], Registry], server: Server, checkpoints: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from mlflow import MlflowClient

    registry, name = new_host("one"), f"dies-{step.replace('_', '-')}"
    base = registry.register_base(checkpoints[0], name=name, corpus="corpus")
    work = getattr(MlflowClient, step)

    def away(*arguments: Any, **named: Any) -> Any:
        server.stop()
        return work(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, away)
        with pytest.raises(OperationFailed, match="failed: "):
            registry.promote(candidate_of(registry, base, checkpoints[1]), expected_champion=base)
    with pytest.raises(OperationFailed, match="asking the registry failed"):
        registry.champion(name)
    server.start()
    assert registry.champion(name).version == "1"
    candidate = candidate_of(registry, base, checkpoints[1])
    registry.promote(candidate, expected_champion=base)
    assert (candidate.version, registry.champion(name).version) == ("2", "2")
    registry.download(registry.champion(name))
