"""Pseudonyms and sealed payloads, both under keys derived from the deployment key.

deployment key ─HKDF─┬─ event key → MAC of each line of the audit log
                     ├─ MAC key  → pseudonym(value) = HMAC-SHA256(MAC key, kind ‖ 0 ‖ value)
                     └─ wrap key → wrapped_key = Fernet(wrap key, data key)
                                ciphertext  = AES-256-GCM(data key, plaintext)

Every payload has its own data key: to destroy a payload, destroy its wrapped key. What it belongs to is authenticated
with it (GCM's associated data): put elsewhere, it does not open.

There may be earlier deployment keys beside the one in use: what was named under them is still found, and what was
sealed under them is rewrapped under the one in use (`infra.requests.rotation`) before it opens.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from infra.keys.lines import decode_key
from infra.keys.sources import deployment_keys
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from infra.settings import Settings

_NONCE_BYTES = 12  # of GCM; a data key encrypts once, so that no nonce comes twice under it
_DATA_KEY_BITS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A payload that only the vault with the same deployment key opens."""

    wrapped_key: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class Vault:
    """Turns personal data into pseudonyms and sealed payloads. Lives in process memory only: it cannot be pickled."""

    __slots__ = ("_event_keys", "_mac_keys", "_suppression_key", "_wrap", "_wrap_in_use")

    def __init__(self, deployment_key: bytes, *earlier: bytes, suppression_key: bytes | None = None) -> None:
        """Derive the keys from 32 random bytes, and those of earlier deployment keys, the latest first.

        Args:
            deployment_key: The key in use.
            earlier: Those that were in use before.
            suppression_key: Of the digests of what was erased; None: they are pseudonyms under the deployment key.
        """
        keys = (deployment_key, *earlier)
        self._mac_keys = [_derive(key, b"revs/1/pseudonym") for key in keys]
        self._suppression_key = None if suppression_key is None else _derive(suppression_key, b"revs/1/erased")
        self._event_keys = [_derive(key, b"revs/1/events") for key in keys]
        wraps = [Fernet(base64.urlsafe_b64encode(_derive(key, b"revs/1/wrap"))) for key in keys]
        self._wrap_in_use, self._wrap = wraps[0], MultiFernet(wraps)

    @classmethod
    def from_settings(cls, settings: Settings) -> Vault:
        """Open the vault of this installation; its key file is made on first use.

        Raises:
            BadInput: What the settings name as key is none, or they contradict each other.
            OperationFailed: The key cannot be read, made or unwrapped.
        """
        suppression_key = None
        if settings.suppression_key is not None:
            suppression_key = decode_key(settings.suppression_key.get_secret_value(), origin="REVS_SUPPRESSION_KEY")
        return cls(*deployment_keys(settings), suppression_key=suppression_key)

    def pseudonym(self, value: str, *, kind: str) -> str:
        """Return 64 hex digits that stand for `value`: the same for the same value, kind and deployment key."""
        return self.pseudonyms(value, kind=kind)[0]

    def pseudonyms(self, value: str, *, kind: str) -> list[str]:
        """Return what stands, or once stood, for `value`: under the deployment key in use first, then earlier ones."""
        assert kind and "\0" not in kind
        data = kind.encode() + b"\0" + value.encode("utf-8", "surrogatepass")
        return [_mac(key, data) for key in self._mac_keys]

    def digests_of_erased(self, value: str, *, kind: str) -> list[str]:
        """Return the digests that an erased value may have: that kept now first, then those of earlier keys."""
        found = self.pseudonyms(value, kind=f"erased {kind}")
        if self._suppression_key is None:
            return found
        return [_mac(self._suppression_key, kind.encode() + b"\0" + value.encode("utf-8", "surrogatepass")), *found]

    def sign_event(self, data: bytes) -> str:
        """Return the MAC of a line of the audit log, 64 hex digits."""
        return _mac(self._event_keys[0], data)

    def event_macs(self, data: bytes) -> list[str]:
        """Return the MACs that a line may have: under the deployment key in use first, then earlier ones."""
        return [_mac(key, data) for key in self._event_keys]

    def seal(self, plaintext: bytes, *, of: str) -> Sealed:
        """Encrypt under a fresh data key; it opens as the payload of `of` alone."""
        data_key, nonce = AESGCM.generate_key(_DATA_KEY_BITS), secrets.token_bytes(_NONCE_BYTES)
        ciphertext = nonce + AESGCM(data_key).encrypt(nonce, plaintext, of.encode())
        return Sealed(wrapped_key=self._wrap_in_use.encrypt(data_key), ciphertext=ciphertext)

    def open(self, sealed: Sealed, *, of: str) -> bytes:
        """Decrypt the payload of `of`, sealed or rewrapped under the deployment key in use.

        Raises:
            OperationFailed: It is under another deployment key, was altered, or is the payload of something else.
        """
        nonce, ciphertext = sealed.ciphertext[:_NONCE_BYTES], sealed.ciphertext[_NONCE_BYTES:]
        try:
            return AESGCM(self._wrap_in_use.decrypt(sealed.wrapped_key)).decrypt(nonce, ciphertext, of.encode())
        except (InvalidToken, InvalidTag, ValueError, TypeError):  # TypeError: a damaged row that holds no bytes
            raise _does_not_open() from None

    def open_unbound(self, sealed: Sealed) -> bytes:
        """Decrypt a payload from before payloads were bound to what they belong to, under any deployment key.

        Raises:
            OperationFailed: It is under a key that is not among them, or was altered.
        """
        try:
            return Fernet(self._wrap.decrypt(sealed.wrapped_key)).decrypt(sealed.ciphertext)
        except (InvalidToken, ValueError, TypeError):
            raise _does_not_open() from None

    def rewrapped(self, sealed: Sealed) -> Sealed:
        """Return the same payload under the deployment key in use; its data key and its bytes stay.

        Raises:
            OperationFailed: It is under a key that is not among them, or was altered.
        """
        try:
            return Sealed(wrapped_key=self._wrap.rotate(sealed.wrapped_key), ciphertext=sealed.ciphertext)
        except (InvalidToken, ValueError, TypeError):
            raise _does_not_open() from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a vault holds keys and is never pickled; pass settings and open it again")


def _derive(deployment_key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(deployment_key)


def _mac(key: bytes, data: bytes) -> str:
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    return mac.finalize().hex()


def _does_not_open() -> OperationFailed:
    return OperationFailed(
        "a sealed payload does not open: the deployment key is not the one it was sealed with, or the payload "
        "was altered or put in another's place; restore the deployment key and try again, nothing was changed"
    )
