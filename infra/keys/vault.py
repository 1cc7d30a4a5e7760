"""Pseudonyms and sealed payloads, both under keys derived from the deployment key.

deployment key ─HKDF─┬─ event key → MAC of each line of the audit log
                     ├─ MAC key  → pseudonym(value) = HMAC-SHA256(MAC key, kind ‖ 0 ‖ value)
                     └─ wrap key → wrapped_key = Fernet(wrap key, data key);  ciphertext = Fernet(data key, plaintext)

Every payload has its own data key: to destroy a payload, destroy its wrapped key.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.keys.keyfile import decode_key, read_or_create_key
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from infra.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A payload that only the vault with the same deployment key opens."""

    wrapped_key: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class Vault:
    """Turns personal data into pseudonyms and sealed payloads. Lives in process memory only: it cannot be pickled."""

    __slots__ = ("_event_key", "_mac_key", "_wrap")

    def __init__(self, deployment_key: bytes) -> None:
        """Derive the keys from 32 random bytes."""
        self._mac_key = _derive(deployment_key, b"revs/1/pseudonym")
        self._event_key = _derive(deployment_key, b"revs/1/events")
        self._wrap = Fernet(base64.urlsafe_b64encode(_derive(deployment_key, b"revs/1/wrap")))

    @classmethod
    def from_settings(cls, settings: Settings) -> Vault:
        """Open the vault of this installation; its key file is made on first use.

        Raises:
            BadInput: The key in the settings or in the key file is none.
            OperationFailed: The key file cannot be read or written.
        """
        if settings.deployment_key is not None:
            text = settings.deployment_key.get_secret_value()
            return cls(decode_key(text, origin="REVS_DEPLOYMENT_KEY"))
        return cls(read_or_create_key(settings.key_file))

    def pseudonym(self, value: str, *, kind: str) -> str:
        """Return 64 hex digits that stand for `value`: the same for the same value, kind and deployment key."""
        assert kind and "\0" not in kind
        mac = hmac.HMAC(self._mac_key, hashes.SHA256())
        mac.update(kind.encode() + b"\0" + value.encode("utf-8", "surrogatepass"))
        return mac.finalize().hex()

    def sign_event(self, data: bytes) -> str:
        """Return the MAC of a line of the audit log, 64 hex digits."""
        mac = hmac.HMAC(self._event_key, hashes.SHA256())
        mac.update(data)
        return mac.finalize().hex()

    def seal(self, plaintext: bytes) -> Sealed:
        """Encrypt under a fresh data key."""
        data_key = Fernet.generate_key()
        return Sealed(wrapped_key=self._wrap.encrypt(data_key), ciphertext=Fernet(data_key).encrypt(plaintext))

    def open(self, sealed: Sealed) -> bytes:
        """Decrypt a payload.

        Raises:
            OperationFailed: It was sealed under another deployment key, or was altered.
        """
        try:
            return Fernet(self._wrap.decrypt(sealed.wrapped_key)).decrypt(sealed.ciphertext)
        except (InvalidToken, ValueError):
            raise OperationFailed(
                "a sealed payload does not open: the deployment key is not the one it was sealed with, or the payload "
                "was altered; restore the deployment key and try again, nothing was changed"
            ) from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault holds keys and is never pickled; pass settings and open it again")


def _derive(deployment_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(deployment_key)
