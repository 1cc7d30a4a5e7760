"""`revs service`: tokens by command, what `run` refuses, and a service that runs until it is told to end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import Revs, in_process
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from infra.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def revs(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    run = in_process(monkeypatch, capsys)
    return lambda *arguments: run("service", *arguments)


def test_a_token_is_told_once_and_listed_without_it_until_it_is_revoked(revs: Revs) -> None:
    made = revs("token", "add", "--role", "officer", "--name", "A. Officer", "--by", "Bo")
    assert made.code == 0
    said, secret = made.out.splitlines()
    assert re.fullmatch(r"revs_[\w-]{43}", secret) and "this is told once" in said
    listed = revs("token", "list")
    assert "A. Officer" in listed.out and secret not in listed.out
    (token,) = json.loads(revs("token", "list", "--json").out)
    assert token["role"] == "officer" and token["revoked_at"] is None and "hash" not in token
    assert "opens nothing any more" in revs("token", "revoke", token["id"]).out
    assert json.loads(revs("token", "list", "--json").out)[0]["revoked_at"]
    again = revs("token", "add", "--role", "officer", "--name", "A. Officer")
    assert again.code == 2 and "was given before" in again.err


def test_a_machine_gets_the_token_as_json(revs: Revs) -> None:
    made = json.loads(revs("token", "add", "--role", "submitter", "--name", "web form", "--days", "30", "--json").out)
    assert made["token"].startswith("revs_") and made["role"] == "submitter"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("token", "add", "--role", "wizard", "--name", "A"), "choose one of submitter, officer, operator, auditor"),
        (("token", "add", "--role", "officer", "--name", "<b>"), "the name must be"),
        (("token", "add", "--role", "officer", "--name", ""), "the name must be"),
        (("token", "add", "--role", "officer", "--name", "A", "--days", "0"), "give 1 to 3650"),
        (("token", "revoke", "T-00000000"), "there is no token with this id"),
        (("run", "--host", "0.0.0.0"), "tokens would travel readably"),
        (("run", "--host", "no host"), "cannot be used"),
        (("run", "--certificate", __file__), "--certificate and --key go together"),
        (("run", "--certificate", __file__, "--key", __file__), "cannot be used (no pem); give a certificate and its"),
        (("run", "--proxy", "*"), "--proxy '*' is no address"),
        (("run", "--proxy", "10.0.0.2, proxy.example.com"), "--proxy 'proxy.example.com' is no address"),
        (("run", "--proxy", ""), "--proxy '' is no address"),
    ],
)
def test_what_is_wrong_ends_in_one_line_with_the_remedy(revs: Revs, arguments: tuple[str, ...], said: str) -> None:
    if arguments[:3] == ("run", "--host", "no host"):
        arguments = (*arguments, "--proxy", "127.0.0.1")
    answer = revs(*arguments)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1


def test_a_port_that_is_taken_is_named(revs: Revs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = revs("run", "--port", str(taken.getsockname()[1]))
    assert answer.code == 2 and "choose another with --port" in answer.err


def test_the_service_answers_until_it_is_told_to_end(settings: Settings, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from flows.cli import main; main()", "service", "run", "--port", "0"]
    log = tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().split()[1].rstrip(";")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{address}/v1/ready", timeout=60) as answer:
            assert json.load(answer) == {"status": "ok"} and answer.headers["server"] is None
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\n" and process.wait(timeout=30) == 0
    assert "GET /v1/ready 200" in log.read_text() and "Traceback" not in log.read_text()


def test_no_answer_waits_for_its_caller_to_confirm_headers() -> None:
    from flows.cli.service import _socket

    with _socket("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_key_with_a_password_and_one_of_another_certificate_are_told_apart(revs: Revs, tmp_path: Path) -> None:
    own, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]), datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, own.public_key(), 1, now, now + timedelta(days=1)).sign(own, SHA256())
    (certificate := tmp_path / "own.pem").write_bytes(made.public_bytes(Encoding.PEM))

    def refused(key: ec.EllipticCurvePrivateKey, lock: KeySerializationEncryption, said: str) -> None:
        (path := tmp_path / "its.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        answer = revs("run", "--certificate", certificate, "--key", path)
        assert answer.code == 2 and said in answer.err

    refused(other, NoEncryption(), "key values mismatch")
    refused(own, BestAvailableEncryption(b"secret"), "is encrypted; give one without a password")
