"""`revs keys` with a key service: wrap, rotate, unwrap, and what is refused."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest
from command_line import Revs, in_process
from key_forms import KEK, OTHER, address, encoded, kept, shows

from infra.keys.keyfile import add_key, read_or_create_keys
from infra.keys.services import key_service
from infra.requests import RequestStore
from infra.settings import Settings, load_settings

GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}]}


@pytest.fixture
def kek(tmp_path: Path) -> Path:
    return kept(tmp_path / "kek", KEK)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def key(settings: Settings) -> bytes:
    """Of a store in which one request waits."""
    RequestStore.from_settings(settings).add(GOOD, model="demo")
    return read_or_create_keys(settings.key_file)[0]


@pytest.fixture
def revs(key: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    return in_process(monkeypatch, capsys, "219-41", encoded(key), encoded(KEK), encoded(OTHER))


def test_a_key_is_wrapped_rotated_and_unwrapped_and_the_store_goes_on(
    revs: Revs, settings: Settings, kek: Path, key: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVS_KEY_SERVICE", address(kek))
    for command in (("requests", "list"), ("keys", "rotate")):
        plain = revs(*command)
        assert plain.code == 2 and "run 'revs keys wrap', or unset it" in plain.err
    assert revs("keys", "wrap").out == f"1 keys in {settings.key_file} are wrapped\n"
    assert revs("requests", "list").code == 0 and not shows(settings.key_file.read_text(), key)
    assert revs("keys", "rotate").out == "1 payloads are under the new key\n"
    lines = settings.key_file.read_text().split()
    assert len(lines) == 2 and all(line.startswith("wrapped:") for line in lines)
    add_key(settings.key_file, key_service(address(kek)))  # and killed before the store was brought to it
    assert json.loads(revs("keys", "rotate", "--json").out) == {"payloads": 1, "clean": True}
    assert json.loads(revs("keys", "wrap", "--json").out) == {"keys": 3, "wrapped": True}
    monkeypatch.delenv("REVS_KEY_SERVICE")
    useless = revs("requests", "list")
    assert useless.code == 2 and "set REVS_KEY_SERVICE" in useless.err
    monkeypatch.setenv("REVS_KEY_SERVICE", address(kek))
    assert "3 keys" in revs("keys", "unwrap").out
    monkeypatch.delenv("REVS_KEY_SERVICE")
    assert revs("requests", "list").code == 0 and revs("log", "verify").code == 0
    assert read_or_create_keys(settings.key_file)[2] == key


def test_the_file_is_rewritten_while_no_other_process_changes_it(
    revs: Revs, settings: Settings, kek: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def rewrite(path: Path, *_: object, **__: object) -> int:
        with path.with_name(f"{path.name}.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(True)
        return 1

    monkeypatch.setenv("REVS_KEY_SERVICE", address(kek))
    monkeypatch.setattr("infra.keys.keyfile.rewrite", rewrite)
    revs("keys", "wrap")
    revs("keys", "unwrap")
    assert held == [True, True]


def test_without_a_service_nothing_is_wrapped(revs: Revs, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings.key_file.read_bytes()
    for command in ("wrap", "unwrap"):
        refused = revs("keys", command)
        assert refused.code == 2 and "REVS_KEY_SERVICE is not set" in refused.err
    monkeypatch.setenv("REVS_DEPLOYMENT_KEY", encoded(OTHER))
    refused = revs("keys", "wrap")
    assert refused.code == 2 and "REVS_DEPLOYMENT_KEY is used instead of the key file" in refused.err
    assert settings.key_file.read_bytes() == before


def test_another_key_encryption_key_changes_nothing(
    revs: Revs, settings: Settings, kek: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVS_KEY_SERVICE", address(kek))
    revs("keys", "wrap")
    kek.write_text(encoded(OTHER))
    files = {path: path.read_bytes() for path in settings.home.rglob("*") if path.is_file()}
    for command in (("requests", "list"), ("keys", "rotate"), ("keys", "wrap"), ("keys", "unwrap")):
        refused = revs(*command)
        assert refused.code == 1 and f"line 1 of {settings.key_file}: the key-encryption key {kek} does" in refused.err
    assert {path: path.read_bytes() for path in files} == files


def test_the_whole_key_file_of_another_installation_under_the_same_service_is_refused(
    revs: Revs, settings: Settings, kek: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens, since it is a key file as it should be; the store knows its own key."""
    monkeypatch.setenv("REVS_KEY_SERVICE", address(kek))
    revs("keys", "wrap")
    own = settings.key_file.read_bytes()
    other = tmp_path / "other.key"
    read_or_create_keys(other, key_service(address(kek)))
    settings.key_file.write_bytes(other.read_bytes())
    database = (settings.home / "requests.db").read_bytes()
    for command in (("requests", "list"), ("keys", "rotate")):
        refused = revs(*command)
        assert refused.code == 1 and "the deployment key is not the one it was made with" in refused.err
    assert settings.key_file.read_bytes() == other.read_bytes()
    assert (settings.home / "requests.db").read_bytes() == database
    settings.key_file.write_bytes(own)
    assert revs("requests", "list").code == 0


def test_no_new_key_is_made_beside_a_store_whose_key_is_gone(revs: Revs, settings: Settings) -> None:
    assert revs("requests", "list").code == 0
    kept = settings.key_file.read_bytes()
    settings.key_file.unlink()
    answer = revs("requests", "list")
    assert answer.code == 2 and "is gone, and" in answer.err and "restore it, or set REVS_DEPLOYMENT_KEY" in answer.err
    assert not settings.key_file.exists()
    settings.key_file.write_bytes(kept)
    settings.key_file.chmod(0o600)
    assert revs("requests", "list").code == 0


def test_the_signer_s_public_key_is_printed_and_stays(revs: Revs, settings: Settings) -> None:
    from infra.keys.signer import Signers

    printed = revs("keys", "signer")
    assert printed.code == 0 and printed.out.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert printed.out.encode() == Signers.of(settings).public_pem()
    told = json.loads(revs("keys", "signer", "--json").out)
    assert told == {"fingerprint": Signers.of(settings).fingerprint(), "public_key": printed.out}
    assert "PRIVATE" not in printed.out
