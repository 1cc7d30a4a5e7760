"""Who signs versions here, and whose signatures are accepted: elliptic curve keys in PEM files.

A key is named by its fingerprint, the SHA-256 of its public half as PEM, which is how model-signing's bundles name it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.permissions import open_to_others
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

    from infra.settings import Settings

_CURVES = ("secp256r1", "secp384r1")
_SHOWN = 12  # hex digits of a fingerprint in messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Signers:
    """The key that signs and the keys that are accepted. Reading nothing until it is asked."""

    own: Path  # private key, PEM
    named: bool = False  # by REVS_SIGNER_KEY: it must be there; else it is made when something is signed first
    trusted: tuple[Path, ...] = ()  # public keys that are accepted beside the own

    @classmethod
    def of(cls, settings: Settings) -> Signers:
        """Those of an installation."""
        trusted = (path.strip() for path in (settings.trusted_signers or "").split(","))
        return cls(
            own=(settings.signer_key or settings.home / "signer.pem").expanduser(),
            named=settings.signer_key is not None,
            trusted=tuple(Path(path).expanduser() for path in trusted if path),
        )

    def private_key(self) -> EllipticCurvePrivateKey:
        """The key that signs; the one of the home folder is made on first use, readable by its owner alone.

        Raises:
            BadInput: it is no key that can sign, a named one is missing, or others may read it.
            OperationFailed: it cannot be read or made.
        """
        if not self.named:
            _make(self.own)
        return _private(self.own)

    def fingerprint(self) -> str:
        """The name of the key that signs.

        Raises:
            BadInput: as `private_key`.
            OperationFailed: as `private_key`.
        """
        return fingerprint(_pem(self.private_key().public_key()))

    def public_pem(self) -> bytes:
        """The public half of the key that signs, to be handed out.

        Raises:
            BadInput: as `private_key`.
            OperationFailed: as `private_key`.
        """
        return _pem(self.private_key().public_key())

    def accepted(self) -> Mapping[str, bytes]:
        """The public keys whose signatures count, as PEM, by fingerprint. Makes no key.

        Raises:
            BadInput: a file that is named holds no such key.
            OperationFailed: one cannot be read.
        """
        keys = [_pem(_private(self.own).public_key())] if self.named or self.own.exists() else []
        return {fingerprint(pem): pem for pem in [*keys, *(_pem(_public(path)) for path in self.trusted)]}


def fingerprint(pem: bytes) -> str:
    """Name a public key."""
    return hashlib.sha256(pem).hexdigest()


def short(name: str) -> str:
    """The beginning of a fingerprint, as messages have it."""
    return name[:_SHOWN]


def _make(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if path.exists():
        return
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # `link` never replaces: of two that make one, one wins
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise OperationFailed(
            f"the signer's key {path} cannot be made ({error.strerror}); nothing was signed: make its folder writable"
        ) from None


def _private(path: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path, setting="REVS_SIGNER_KEY")
    if open_to_others(path):
        raise BadInput(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError):  # no PEM, no key, or one with a password
        key = None
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise BadInput(
            f"{path} holds no private key that can sign; give one on P-256 or P-384 as PEM, without a password: "
            f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {path}"
        )
    return key


def _public(path: Path) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path, setting="REVS_TRUSTED_SIGNERS")
    try:
        key = load_pem_public_key(data)
    except ValueError:
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise BadInput(f"REVS_TRUSTED_SIGNERS: {path} holds no public key; give what 'revs keys signer' prints there")
    return key


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, *, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise BadInput(f"{setting}: there is no file {path}; correct or unset it") from None
    except OSError as error:
        raise OperationFailed(f"the signer's key {path} cannot be read ({error.strerror}); check its rights") from None
