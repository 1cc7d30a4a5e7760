"""A key service of this machine: key-encryption keys in a file of another place than what they wrap."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.keys.keyfile import read_lines
from infra.keys.lines import decode_key
from infra.keys.services import does_not_open
from revs.errors import BadInput, OperationFailed

_NONCE_BYTES = 12


class LocalKeys:
    """AES-256-GCM under the first key of the file; later ones still open what they wrapped."""

    __slots__ = ("_keys", "_name")

    def __init__(self, address: str) -> None:
        """Read the keys: 32 random bytes each as urlsafe base64, a line each, readable by their owner only.

        Raises:
            BadInput: The address is no path of a file, the file holds no key, or others than its owner may read it.
            OperationFailed: The file cannot be read; it is never made here.
        """
        path = path_of(address)
        self._name = f"the key-encryption key {path}"
        try:
            found = read_lines(path, what="key-encryption key", setting="REVS_KEY_SERVICE")
        except OSError as error:
            raise OperationFailed(
                f"{self._name} cannot be read ({error.strerror}); nothing was stored or changed: put it there, or "
                "correct REVS_KEY_SERVICE"
            ) from None
        self._keys = [decode_key(line, origin=self._name) for line in found]

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Return nonce and ciphertext; the context is authenticated with them."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._keys[0]).encrypt(nonce, secret, _associated(context))

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret.

        Raises:
            OperationFailed: No key of the file opens it.
        """
        nonce, ciphertext = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        for key in self._keys:
            with suppress(InvalidTag, ValueError):  # ValueError: too short to be anything
                return AESGCM(key).decrypt(nonce, ciphertext, _associated(context))
        raise does_not_open(self._name)


def path_of(address: str) -> Path:
    """Return the path of a `file:///…` address.

    Raises:
        BadInput: It is of another form.
    """
    parts = urlsplit(address)
    if parts.netloc or not parts.path.startswith("/"):
        raise BadInput("REVS_KEY_SERVICE is no address of a file on this machine; write it as file:///path/to/kek")
    return Path(unquote(parts.path))


def _associated(context: Mapping[str, str]) -> bytes:
    return b"revs/1/key service\0" + json.dumps(dict(context), sort_keys=True).encode()
