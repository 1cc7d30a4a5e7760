"""Deployment keys wrapped by AWS KMS, as a server on this machine speaks its protocol."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from key_forms import KEY, encoded, shows, told

from infra.keys.keyfile import add_key, rewrite
from infra.keys.services import key_service
from infra.keys.sources import deployment_keys
from infra.settings import Settings
from revs.errors import OperationFailed

CONTEXT = {"purpose": "revs deployment key", "installation": "i"}


@pytest.fixture
def kms(aws: None) -> Iterator[Any]:
    """A client, with its endpoint and keys in the environment as a user has them."""
    import boto3

    client = boto3.client("kms")
    yield client
    client.close()


@pytest.fixture
def key_id(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["KeyId"])


def test_keys_are_wrapped_rotated_and_unwrapped_by_id_alias_and_arn(kms: Any, key_id: str, tmp_path: Path) -> None:
    kms.create_alias(AliasName=f"alias/{tmp_path.name}", TargetKeyId=key_id)
    arn = kms.describe_key(KeyId=key_id)["KeyMetadata"]["Arn"]
    by_id, *others = [
        Settings(home=tmp_path, key_service=f"aws-kms://{name}") for name in (key_id, f"alias/{tmp_path.name}", arn)
    ]
    (first,) = deployment_keys(by_id)
    service = key_service(by_id.key_service or "")
    second, _ = add_key(by_id.key_file, service)
    for settings in (by_id, *others):
        assert deployment_keys(settings) == [second, first]
    assert not shows(by_id.key_file.read_text(), first, second)
    rewrite(by_id.key_file, service, wrapped=False)
    assert deployment_keys(Settings(home=tmp_path)) == [second, first]


def test_the_context_goes_to_the_service(kms: Any, key_id: str) -> None:
    wrapped = key_service(f"aws-kms://{key_id}").wrap(b"x" * 32, CONTEXT)
    assert kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=CONTEXT)["Plaintext"] == b"x" * 32
    with pytest.raises(OperationFailed, match="AWS KMS does not open it"):
        key_service(f"aws-kms://{key_id}").unwrap(wrapped, CONTEXT | {"installation": "another"})


def test_what_kms_does_not_open_is_one_line_and_changes_nothing(kms: Any, key_id: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, key_service=f"aws-kms://{key_id}")
    deployment_keys(settings)
    line = settings.key_file.read_text().strip()
    damaged = line[:-12] + ("A" if line[-12] != "A" else "B") + line[-11:]
    settings.key_file.write_text(damaged)
    for attempt in (deployment_keys, lambda each: add_key(each.key_file, key_service(each.key_service or ""))):
        with pytest.raises(OperationFailed, match=r"line 1 of .*: AWS KMS does not open it") as caught:
            attempt(settings)
        assert "\n" not in str(caught.value)
    assert settings.key_file.read_text() == damaged


def test_a_kms_that_cannot_be_used_is_named_with_its_reason_and_no_key(
    kms: Any, key_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.keys.keyfile._new", lambda: KEY)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for address, endpoint, region, reason in (
            ("aws-kms://11111111-2222-3333-4444-555555555555", None, None, "NotFoundException"),
            ("aws-kms://", None, None, "ParamValidationError"),
            (f"aws-kms://{key_id}", nobody, None, "EndpointConnectionError"),
            (f"aws-kms://{key_id}", "no address", None, "ValueError"),
            (f"aws-kms://{key_id}", None, "", "NoRegionError"),
        ):
            with monkeypatch.context() as patch:
                if endpoint is not None:
                    patch.setenv("AWS_ENDPOINT_URL", endpoint)
                if region is not None:
                    patch.delenv("AWS_DEFAULT_REGION")
                    patch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
                settings = Settings(home=tmp_path, key_service=address)
                with pytest.raises(OperationFailed, match=rf"AWS KMS cannot be used \({reason}\)") as caught:
                    deployment_keys(settings)
            assert "\n" not in str(caught.value) and not settings.key_file.exists()
            assert not shows(told(caught.value), KEY)


def test_nothing_that_boto_logs_shows_a_key(key_id: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG it writes what is sent and what is answered."""
    caplog.set_level(logging.DEBUG)
    settings = Settings(home=tmp_path, key_service=f"aws-kms://{key_id}")
    (key,) = deployment_keys(settings)
    second, _ = add_key(settings.key_file, key_service(settings.key_service or ""))
    settings.key_file.write_text(settings.key_file.read_text() + encoded(key))
    with pytest.raises(ValueError, match="plain key") as caught:
        deployment_keys(settings)
    assert "urllib3" in caplog.text, "others do log"
    assert not shows(caplog.text + told(caught.value) + repr(key_service(settings.key_service or "")), key, second)
