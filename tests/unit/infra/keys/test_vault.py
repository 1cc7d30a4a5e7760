from __future__ import annotations

import base64
import os
import pickle
import secrets
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.keys.keyfile import add_key, read_or_create_keys
from infra.keys.vault import Sealed, Vault
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed

KEY = bytes(range(32))
VAULT = Vault(KEY)


@given(st.binary(max_size=300))
def test_a_sealed_payload_opens_to_what_was_sealed(plaintext: bytes) -> None:
    assert VAULT.open(VAULT.seal(plaintext, of="R-1 0"), of="R-1 0") == plaintext


def test_two_payloads_never_share_a_data_key() -> None:
    first, second = VAULT.seal(b"219-41-5522", of="R-1 0"), VAULT.seal(b"219-41-5522", of="R-1 0")
    assert first.ciphertext != second.ciphertext
    with pytest.raises(OperationFailed):
        VAULT.open(Sealed(wrapped_key=first.wrapped_key, ciphertext=second.ciphertext), of="R-1 0")


def test_a_sealed_payload_shows_nothing_of_its_content() -> None:
    sealed = VAULT.seal(b"219-41-5522", of="R-1 0")
    held = sealed.ciphertext + base64.urlsafe_b64decode(sealed.wrapped_key)
    assert b"219-41" not in held + sealed.wrapped_key
    assert "gAAAA" not in repr(sealed)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda sealed: (Vault(secrets.token_bytes(32)), sealed), "another deployment key"),
        (lambda sealed: (VAULT, _replace(sealed, wrapped_key=b"no token")), "an altered wrapped key"),
        (lambda sealed: (VAULT, _replace(sealed, ciphertext=sealed.ciphertext[:-8])), "an altered payload"),
        (lambda sealed: (VAULT, _replace(sealed, ciphertext=b"")), "no payload"),
        (lambda sealed: (VAULT, _replace(sealed, ciphertext="text of a damaged row")), "no bytes"),
        (lambda sealed: (VAULT, VAULT.seal(b"219-41-5522", of="R-2 0")), "the payload of another request"),
        (lambda sealed: (VAULT, VAULT.seal(b"219-41-5522", of="R-1 1")), "another payload of the same request"),
        (lambda sealed: (Vault(bytes(32), KEY), sealed), "an earlier deployment key, before it was wrapped anew"),
        (
            lambda sealed: (VAULT, _replace(sealed, wrapped_key=Vault(KEY).seal(b"x", of="R-1 0").wrapped_key)),
            "another data key",
        ),
    ],
)
def test_a_payload_that_does_not_open_ends_in_one_line(wrong, why) -> None:
    vault, sealed = wrong(VAULT.seal(b"219-41-5522", of="R-1 0"))
    with pytest.raises(OperationFailed, match="deployment key") as caught:
        vault.open(sealed, of="R-1 0")
    assert "\n" not in str(caught.value), why
    assert caught.value.__cause__ is None


def _replace(sealed: Sealed, **changes: bytes) -> Sealed:
    return Sealed(**{"wrapped_key": sealed.wrapped_key, "ciphertext": sealed.ciphertext, **changes})


def test_a_pseudonym_is_keyed_stable_and_separate_for_each_kind() -> None:
    pseudonym = VAULT.pseudonym("customer 17", kind="subject")
    assert len(bytes.fromhex(pseudonym)) == 32
    assert pseudonym == Vault(KEY).pseudonym("customer 17", kind="subject")
    others = {
        VAULT.pseudonym("customer 17", kind="demand"),
        VAULT.pseudonym("customer 18", kind="subject"),
        Vault(secrets.token_bytes(32)).pseudonym("customer 17", kind="subject"),
        VAULT.pseudonym("t\0customer 17", kind="subjec"),
    }
    assert len(others | {pseudonym}) == 5


def test_a_pseudonym_stays_what_it_was_in_earlier_releases() -> None:
    # Computed with hashlib and hmac alone from the description in infra/keys/vault.py; stored records depend on it.
    import hashlib
    import hmac

    extracted = hmac.digest(bytes(32), KEY, "sha256")
    mac_key = hmac.digest(extracted, b"revs/1/pseudonym\x01", "sha256")
    expected = hmac.new(mac_key, b"subject\0customer 17", hashlib.sha256).hexdigest()
    assert VAULT.pseudonym("customer 17", kind="subject") == expected


def test_a_vault_is_never_pickled() -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(VAULT)
    assert KEY.hex() not in repr(VAULT) and str(KEY) not in repr(VAULT)


def test_the_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    sealed = Vault.from_settings(settings).seal(b"x", of="R-1 0")
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
    assert Vault.from_settings(settings).open(sealed, of="R-1 0") == b"x"
    assert os.listdir(tmp_path) == ["deployment.key"], "no draft of the key is left"


def test_of_many_first_callers_all_get_the_same_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    keys: list[bytes] = []

    def call() -> None:
        barrier.wait()
        keys.extend(read_or_create_keys(tmp_path / "deployment.key"))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_key_in_the_settings_comes_before_the_file(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, deployment_key=SecretStr(base64.urlsafe_b64encode(KEY).decode()))
    assert Vault.from_settings(settings).open(VAULT.seal(b"x", of="R-1 0"), of="R-1 0") == b"x"
    assert not settings.key_file.exists()


@pytest.mark.parametrize(
    "text",
    ["", "c2hvcnQ=", "not base64 at all!", base64.urlsafe_b64encode(bytes(33)).decode(), "ü" * 44],
)
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="REVS_DEPLOYMENT_KEY is not the urlsafe base64 of 32 bytes") as caught:
        Vault.from_settings(Settings(home=tmp_path, deployment_key=SecretStr(text)))
    assert not text or text not in str(caught.value)


def test_a_damaged_key_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "deployment.key"
    path.write_bytes(b"\xff\xfe half a key")
    path.chmod(0o600)
    with pytest.raises(BadInput, match="restore the key"):
        read_or_create_keys(path)
    assert path.read_bytes() == b"\xff\xfe half a key"


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deployment.key"
    read_or_create_keys(path)
    path.chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        read_or_create_keys(path)


def test_a_key_that_cannot_be_written_is_a_failure_of_the_surroundings(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match="nothing was stored"):
        read_or_create_keys(tmp_path / "missing folder" / "deployment.key")


# ---- earlier keys


def test_what_was_named_under_an_earlier_key_is_still_found_and_nothing_new_is_sealed_under_it() -> None:
    new = Vault(bytes(32), KEY)
    assert new.pseudonym("Ada", kind="subject") != VAULT.pseudonym("Ada", kind="subject")
    assert new.pseudonyms("Ada", kind="subject")[1] == VAULT.pseudonym("Ada", kind="subject")
    with pytest.raises(OperationFailed, match="does not open"):
        VAULT.open(new.seal(b"y", of="R-1 0"), of="R-1 0")


def test_a_payload_that_is_wrapped_anew_opens_without_the_earlier_key() -> None:
    sealed = VAULT.seal(b"x", of="R-1 0")
    again = Vault(bytes(32), KEY).rewrapped(sealed)
    assert again.ciphertext == sealed.ciphertext and again.wrapped_key != sealed.wrapped_key
    assert Vault(bytes(32)).open(again, of="R-1 0") == b"x"
    with pytest.raises(OperationFailed, match="does not open"):
        Vault(bytes(32)).rewrapped(sealed)


def test_a_payload_of_an_earlier_release_opens_under_any_key_and_only_where_that_is_asked_for() -> None:
    # Sealed with cryptography alone, as releases before schema 0006 did: stored payloads depend on it.
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"revs/1/wrap").derive(KEY)
    data_key = Fernet.generate_key()
    wrapped_key = Fernet(base64.urlsafe_b64encode(derived)).encrypt(data_key)
    sealed = Sealed(wrapped_key=wrapped_key, ciphertext=Fernet(data_key).encrypt(b"x"))
    assert VAULT.open_unbound(sealed) == Vault(bytes(32), KEY).open_unbound(sealed) == b"x"
    with pytest.raises(OperationFailed, match="does not open"):
        VAULT.open(sealed, of="R-1 0")
    with pytest.raises(OperationFailed, match="does not open"):
        Vault(bytes(32)).open_unbound(sealed)


def test_a_new_key_stands_before_the_earlier_ones_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deployment.key"
    (first,) = read_or_create_keys(path)
    second, *earlier = add_key(path)
    assert earlier == [first] and second != first
    assert read_or_create_keys(path) == [second, first]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["deployment.key"]


def test_earlier_keys_come_from_the_settings_beside_the_one_in_use(tmp_path: Path) -> None:
    text = [base64.urlsafe_b64encode(key).decode() for key in (bytes(32), KEY)]
    settings = Settings(home=tmp_path, deployment_key=SecretStr(text[0]), earlier_keys=SecretStr(text[1]))
    rewrapped = Vault.from_settings(settings).rewrapped(VAULT.seal(b"x", of="R-1 0"))
    assert Vault(bytes(32)).open(rewrapped, of="R-1 0") == b"x"
    with pytest.raises(BadInput, match="a key of REVS_EARLIER_KEYS is not"):
        Vault.from_settings(Settings(home=tmp_path, deployment_key=SecretStr(text[0]), earlier_keys=SecretStr("no")))


@pytest.mark.parametrize("between", [",", ", ", " ,  ", ",\n"])
def test_blanks_around_earlier_keys_are_no_part_of_them(tmp_path: Path, between: str) -> None:
    texts = [base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in range(3)]
    earlier = SecretStr(between.join(texts[1:]) + between)
    vault = Vault.from_settings(Settings(home=tmp_path, deployment_key=SecretStr(texts[0]), earlier_keys=earlier))
    assert len(vault.pseudonyms("x", kind="k")) == 3


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_folder_in_the_place_of_the_key_file_is_named(tmp_path: Path, mode: int) -> None:
    (path := tmp_path / "deployment.key").mkdir(mode=mode)
    with pytest.raises(BadInput, match=r"is a folder, and the deployment key is a file; move it away") as caught:
        read_or_create_keys(path)
    assert "\n" not in str(caught.value)
