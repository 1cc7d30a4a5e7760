"""Keys that sign versions: made once, their owner's alone, and refused in one line where they cannot sign."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from infra.keys.signer import Signers, fingerprint
from infra.settings import Settings
from revs.errors import BadInput


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, password: bytes | None = None) -> bytes:
    locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_the_own_key_is_made_once_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    signers = Signers(own=tmp_path / "signer.pem")
    assert signers.accepted() == {} and not signers.own.exists()  # to verify makes none
    first = signers.public_pem()
    assert stat.S_IMODE(signers.own.stat().st_mode) == 0o600
    assert signers.public_pem() == first
    assert signers.accepted() == {signers.fingerprint(): first}
    assert signers.private_key().curve.name == "secp256r1"
    assert [path.name for path in tmp_path.iterdir()] == ["signer.pem"]


def test_the_settings_name_another_key_and_those_that_count_beside_it(tmp_path: Path) -> None:
    keys = [ec.generate_private_key(curve) for curve in (ec.SECP384R1(), ec.SECP256R1(), ec.SECP256R1())]
    own = written(tmp_path / "own.pem", pem(keys[0]))
    others = [written(tmp_path / f"{n}.pub", public(key)) for n, key in enumerate(keys[1:])]
    settings = Settings(home=tmp_path, signer_key=own, trusted_signers=f"{others[0]}, {others[1]},")
    assert Signers.of(settings).accepted() == {fingerprint(public(key)): public(key) for key in keys}
    assert Signers.of(Settings(home=tmp_path)).own == tmp_path / "signer.pem"


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: b"nothing", "no private key"),
        (lambda: pem(ed25519.Ed25519PrivateKey.generate()), "P-256 or P-384"),
        (lambda: pem(ec.generate_private_key(ec.SECP256K1())), "P-256 or P-384"),
        (lambda: pem(ec.generate_private_key(ec.SECP256R1()), b"word"), "without a password"),
        (lambda: public(ec.generate_private_key(ec.SECP256R1())), "no private key"),
    ],
    ids=["text", "another kind", "another curve", "a password", "a public key"],
)
def test_a_key_that_cannot_sign_is_refused_with_the_remedy(
    make: Callable[[], bytes], named: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=named) as refusal:
        Signers(own=written(tmp_path / "own.pem", make()), named=True).private_key()
    assert "openssl genpkey" in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_key_that_others_read_or_that_is_missing_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "own.pem", pem(ec.generate_private_key(ec.SECP256R1())))
    path.chmod(0o640)
    with pytest.raises(BadInput, match="chmod 600"):
        Signers(own=path).private_key()
    with pytest.raises(BadInput, match=r"REVS_SIGNER_KEY: there is no file .*gone\.pem"):
        Signers(own=tmp_path / "gone.pem", named=True).private_key()


@pytest.mark.parametrize("data", [b"nothing", b""])
def test_a_trusted_file_that_holds_no_public_key_is_named(data: bytes, tmp_path: Path) -> None:
    path = written(tmp_path / "other.pub", data)
    with pytest.raises(BadInput, match=r"REVS_TRUSTED_SIGNERS: .*other\.pub holds no public key"):
        Signers(own=tmp_path / "signer.pem", trusted=(path,)).accepted()
    with pytest.raises(BadInput, match=r"REVS_TRUSTED_SIGNERS: there is no file"):
        Signers(own=tmp_path / "signer.pem", trusted=(tmp_path / "gone.pub",)).accepted()
