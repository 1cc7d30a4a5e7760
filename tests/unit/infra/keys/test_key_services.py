"""Wrapped deployment keys: what opens them, what does not, and what is said then."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from key_forms import EARLIER, KEK, KEY, OTHER, address, encoded, kept, shows, told
from pydantic import SecretStr

from infra.keys import keyfile, lines
from infra.keys.keyfile import add_key, read_or_create_keys, rewrite
from infra.keys.local import LocalKeys
from infra.keys.services import KeyService, key_service
from infra.keys.sources import deployment_keys
from infra.keys.vault import Vault
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed, RevsError


class Faulty:
    """A service that wraps what it does not open, or opens to something else."""

    def __init__(self, opens: Callable[[], bytes]) -> None:
        self.opens = opens

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        return b"wrapped"

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        return self.opens()


# ---- the local service


@given(
    secret=st.binary(max_size=64),
    context=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    other=st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_a_secret_opens_with_its_context_alone(
    secret: bytes, context: dict[str, str], other: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    service = LocalKeys(address(kept(tmp_path_factory.getbasetemp() / "kek", KEK)))
    wrapped = service.wrap(secret, context)
    assert service.unwrap(wrapped, context) == secret
    assert service.wrap(secret, context) != wrapped, "a nonce never comes twice"
    if other != context:
        with pytest.raises(OperationFailed, match="does not open it"):
            service.unwrap(wrapped, other)


def test_what_the_service_makes_is_aes_gcm_with_what_it_is_as_associated_data(kek: Path) -> None:
    # Opened with cryptography alone from the description in infra/keys/local.py; wrapped keys depend on it.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    made = LocalKeys(address(kek)).wrap(KEY, {"purpose": "revs deployment key", "installation": "i"})
    associated = b'revs/1/key service\0{"installation": "i", "purpose": "revs deployment key"}'
    assert AESGCM(KEK).decrypt(made[:12], made[12:], associated) == KEY


def test_another_key_encryption_key_comes_into_use_before_the_earlier_one(wrapped: Settings, kek: Path) -> None:
    kept(kek, OTHER, KEK)
    assert deployment_keys(wrapped) == [KEY, EARLIER]
    rewrite(wrapped.key_file, LocalKeys(address(kek)), wrapped=True)
    kept(kek, OTHER)
    assert deployment_keys(wrapped) == [KEY, EARLIER]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda kek: kek.unlink(), r"cannot be read \(No such file.*correct REVS_KEY_SERVICE"),
        (lambda kek: kek.chmod(0o640), "chmod 600"),
        (lambda kek: kek.write_text("short"), "is not the urlsafe base64 of 32 bytes"),
        (lambda kek: kek.write_text(""), "is not the urlsafe base64 of 32 bytes"),
        (lambda kek: (kek.unlink(), kek.mkdir()), "is a folder, and the key-encryption key is a file"),
        (lambda kek: kept(kek, OTHER), "line 1 of .*deployment.key: .*does not open it"),
    ],
)
def test_a_key_encryption_key_that_cannot_be_used_is_named(
    wrapped: Settings, kek: Path, spoil: Callable[[Path], object], said: str
) -> None:
    before = wrapped.key_file.read_bytes()
    spoil(kek)
    for attempt in (Vault.from_settings, lambda settings: add_key(settings.key_file, LocalKeys(address(kek)))):
        with pytest.raises(RevsError, match=said) as caught:
            attempt(wrapped)
        assert "\n" not in str(caught.value) and str(kek) in str(caught.value)
    assert wrapped.key_file.read_bytes() == before


def test_a_key_encryption_key_is_never_made(home: Path, tmp_path: Path) -> None:
    settings = Settings(home=home, key_service=address(tmp_path / "kek"))
    with pytest.raises(OperationFailed, match="cannot be read"):
        Vault.from_settings(settings)
    assert not (tmp_path / "kek").exists() and not settings.key_file.exists()


def test_a_key_encryption_key_in_the_home_folder_is_refused(home: Path, tmp_path: Path) -> None:
    kept(home / "kek", KEK)
    (tmp_path / "link").symlink_to(home / "kek")
    for path in (home / "kek", tmp_path / "link", home / "deployment.key"):
        with pytest.raises(BadInput, match="in the home folder"):
            Vault.from_settings(Settings(home=home, key_service=address(path)))


# ---- wrapped lines


def test_a_new_installation_has_its_first_key_wrapped(home: Path, kek: Path) -> None:
    settings = Settings(home=home, key_service=address(kek))
    (key,) = deployment_keys(settings)
    assert deployment_keys(settings) == [key] and settings.key_file.read_text().startswith("wrapped:")
    assert not shows(settings.key_file.read_text(), key)
    assert os.listdir(home) == ["deployment.key"]
    assert settings.key_file.stat().st_mode & 0o777 == 0o600


def test_a_new_key_is_wrapped_and_the_lines_below_it_stay(wrapped: Settings, kek: Path) -> None:
    before = wrapped.key_file.read_text().splitlines()
    new, *rest = add_key(wrapped.key_file, LocalKeys(address(kek)))
    assert rest == [KEY, EARLIER] and deployment_keys(wrapped) == [new, KEY, EARLIER]
    first, *below = wrapped.key_file.read_text().splitlines()
    assert below == before and first.startswith("wrapped:") and not shows(first, new)


def test_wrapping_hides_the_keys_and_unwrapping_gives_the_file_back(home: Path, kek: Path) -> None:
    path, service = kept(home / "deployment.key", KEY, EARLIER), LocalKeys(address(kek))
    plain = path.read_bytes()
    for wrapped in (True, True, False, False):
        assert rewrite(path, service, wrapped=wrapped) == 2
        assert shows(path.read_text(), KEY, EARLIER) is not wrapped
        assert read_or_create_keys(path, service if wrapped else None) == [KEY, EARLIER]
    assert path.read_bytes() == plain and os.listdir(home) == ["deployment.key"]


def test_plain_lines_among_wrapped_ones_are_wrapped_too(wrapped: Settings, kek: Path) -> None:
    kept(wrapped.key_file.with_name("x"), OTHER).replace(wrapped.key_file.with_name("y"))
    wrapped.key_file.write_text(wrapped.key_file.with_name("y").read_text() + wrapped.key_file.read_text())
    with pytest.raises(BadInput, match="holds a plain key"):
        deployment_keys(wrapped)
    rewrite(wrapped.key_file, LocalKeys(address(kek)), wrapped=True)
    assert deployment_keys(wrapped) == [OTHER, KEY, EARLIER]


def test_the_form_of_the_file_and_the_setting_must_agree(wrapped: Settings, home: Path, kek: Path) -> None:
    with pytest.raises(BadInput, match=r"holds wrapped keys; set REVS_KEY_SERVICE"):
        Vault.from_settings(Settings(home=home))
    with pytest.raises(BadInput, match=r"holds wrapped keys; set REVS_KEY_SERVICE"):
        add_key(wrapped.key_file)
    kept(wrapped.key_file, KEY)
    with pytest.raises(BadInput, match=r"holds a plain key.*run 'revs keys wrap', or unset it"):
        Vault.from_settings(wrapped)
    with pytest.raises(BadInput, match=r"holds a plain key"):
        add_key(wrapped.key_file, LocalKeys(address(kek)))
    assert wrapped.key_file.read_text() == f"{encoded(KEY)}\n"


def other_letter(line: str, place: int) -> str:
    return line[:place] + ("A" if line[place] != "A" else "B") + line[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda line: line[:-8], "does not open it"),
        (lambda line: line[:-9], "is damaged"),
        (lambda line: other_letter(line, 60), "does not open it"),
        (lambda line: line[:41], "is damaged"),
        (lambda line: line[:-1] + "?", "is damaged"),
        (lambda line: line.replace("wrapped:", "wrapped:x"), "is damaged"),
        (lambda line: line.replace("wrapped:", ""), "is not the urlsafe base64 of 32 bytes"),
        (lambda line: line + "AAAA", "does not open it"),
        (lambda line: "", "is not the urlsafe base64"),
    ],
)
def test_a_damaged_line_opens_nothing_and_stays(wrapped: Settings, spoil: Callable[[str], str], said: str) -> None:
    wrapped.key_file.write_text(spoil(wrapped.key_file.read_text().splitlines()[0]) + "\n")
    before = wrapped.key_file.read_bytes()
    service = key_service(wrapped.key_service or "")
    for attempt in (
        lambda: Vault.from_settings(wrapped),
        lambda: add_key(wrapped.key_file, service),
        lambda: rewrite(wrapped.key_file, service, wrapped=True),
        lambda: rewrite(wrapped.key_file, service, wrapped=False),
    ):
        with pytest.raises(RevsError, match=said) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert wrapped.key_file.read_bytes() == before


def test_a_line_of_another_installation_is_noticed_whatever_name_is_written_before_it(
    wrapped: Settings, kek: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    there = Settings(home=tmp_path / "other", key_service=address(kek))
    deployment_keys(there)
    own, foreign = wrapped.key_file.read_text().splitlines(), there.key_file.read_text().strip()
    for text, said in (
        ([own[0], foreign], "holds lines of two installations; restore"),
        ([own[0], foreign.replace(foreign.split(":")[1], own[0].split(":")[1])], "line 2 .* does not open it"),
    ):
        wrapped.key_file.write_text("\n".join(text))
        before = wrapped.key_file.read_bytes()
        for attempt in (Vault.from_settings, lambda settings: add_key(settings.key_file, LocalKeys(address(kek)))):
            with pytest.raises(RevsError, match=said) as caught:
                attempt(wrapped)
            assert "\n" not in str(caught.value)
        assert wrapped.key_file.read_bytes() == before


def refuses() -> bytes:
    raise OperationFailed("no right to decrypt")


@pytest.mark.parametrize(
    ("opens", "said"),
    [
        (refuses, "a deployment key cannot be wrapped: no right to decrypt; nothing was stored or changed"),
        (lambda: OTHER, "a deployment key cannot be wrapped: .* to something else"),
    ],
)
def test_nothing_is_written_that_the_service_does_not_open_again(
    home: Path, opens: Callable[[], bytes], said: str
) -> None:
    path, service = home / "deployment.key", Faulty(opens)
    with pytest.raises(OperationFailed, match=said):
        read_or_create_keys(path, service)
    assert not path.exists()
    kept(path, KEY, EARLIER)
    with pytest.raises(OperationFailed, match=said):
        rewrite(path, service, wrapped=True)
    assert path.read_text() == f"{encoded(KEY)}\n{encoded(EARLIER)}\n" and os.listdir(home) == ["deployment.key"]


def test_what_a_service_opens_to_must_be_a_key(wrapped: Settings) -> None:
    with pytest.raises(OperationFailed, match="opens to no key of 32 bytes"):
        read_or_create_keys(wrapped.key_file, Faulty(lambda: b"short"))


def test_the_end_of_a_stages_time_stays_what_it_is_while_a_service_is_asked(wrapped: Settings) -> None:
    """It is an OSError too, and must not be taken for one of the key file."""

    class TimeIsOver(OperationFailed, TimeoutError):
        pass

    def hangs() -> bytes:
        raise TimeIsOver("took longer")

    service = Faulty(hangs)
    for attempt in (read_or_create_keys, add_key, partial(rewrite, wrapped=True)):
        with pytest.raises(TimeIsOver, match="took longer"):
            attempt(wrapped.key_file, service)
    wrapped.key_file.unlink()
    with pytest.raises(TimeIsOver, match="took longer"):
        read_or_create_keys(wrapped.key_file, service)


def test_a_write_that_fails_leaves_the_file_and_no_draft(
    wrapped: Settings, kek: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = wrapped.key_file.read_bytes()

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keyfile.os, "replace", fails)
    for wrap in (True, False):
        with pytest.raises(OperationFailed, match="No space left"):
            rewrite(wrapped.key_file, LocalKeys(address(kek)), wrapped=wrap)
    assert wrapped.key_file.read_bytes() == before and os.listdir(wrapped.home) == ["deployment.key"]


def test_no_key_shows_in_an_error_a_repr_or_a_log(
    wrapped: Settings, kek: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service: KeyService = LocalKeys(address(kek))
    told_of = [repr(service), str(vars(type(service))), repr(wrapped)]
    Vault.from_settings(wrapped)
    text = wrapped.key_file.read_text()
    for spoilt in (text.replace("wrapped:", ""), text[:-20], text + encoded(OTHER), encoded(KEY), encoded(KEY)[:-2]):
        wrapped.key_file.write_text(spoilt)
        with pytest.raises(RevsError) as caught:
            Vault.from_settings(wrapped)
        told_of.append(told(caught.value))
    wrapped.key_file.write_text(text)
    with pytest.raises(BadInput) as caught:
        Vault.from_settings(
            Settings(home=wrapped.home, deployment_key=SecretStr(encoded(KEY)), key_service="file:///k")
        )
    everything = "\n".join([*told_of, told(caught.value), caplog.text])
    assert not shows(everything, KEK, KEY, EARLIER, OTHER)
    assert not any(line in everything for line in text.split())


def test_a_name_of_an_installation_is_made_once_for_each_file() -> None:
    service = Faulty(lambda: KEY)
    (line,) = lines.written([KEY], service, secrets.token_hex(16))
    assert lines.installation_of(["plain", line]) == line.split(":")[1]
    assert lines.installation_of(["plain"]) != lines.installation_of(["plain"])
