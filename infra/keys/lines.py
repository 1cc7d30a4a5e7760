"""The lines of the key file: 32 random bytes each as urlsafe base64, or as a key service wrapped them.

    plain      BASE64
    wrapped    wrapped:INSTALLATION:BASE64

INSTALLATION is a random name that all lines of a file share and that the service authenticates with each: a line of
another file is noticed, whatever name is written before it.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from infra.keys.services import KeyService
from revs.errors import BadInput, OperationFailed, RevsError

KEY_BYTES = 32

_PREFIX = "wrapped:"
_WRAPPED = re.compile(r"wrapped:([0-9a-f]{32}):([A-Za-z0-9_-]+={0,2})")


def decode_key(text: str, *, origin: str) -> bytes:
    """Return the 32 bytes that `text` stands for.

    Args:
        text: Urlsafe base64 of exactly 32 bytes; surrounding whitespace is ignored.
        origin: Where the text came from, for the message.

    Raises:
        BadInput: It is anything else. The message never shows the text.
    """
    try:
        key = base64.b64decode(text.strip().encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadInput(
            f"{origin} is not the urlsafe base64 of {KEY_BYTES} bytes; restore the key this installation had"
        )
    return key


def opened(lines: Sequence[str], service: KeyService | None, *, origin: str, or_plain: bool = False) -> list[bytes]:
    """Return the keys that `lines` stand for.

    Args:
        lines: The lines of a key file.
        service: What wrapped them; None: they are plain.
        origin: Where they stand, for messages, which show none of them.
        or_plain: Whether some may be plain, though there is a service.

    Raises:
        BadInput: A line is damaged, plain where there is a service or wrapped where there is none, or of another file.
        OperationFailed: The service does not open one.
    """
    parts = [_parted(line, f"line {number} of {origin}") for number, line in enumerate(lines, 1)]
    if len({installation for installation, _ in parts if installation}) > 1:
        raise BadInput(f"{origin} holds lines of two installations; restore the file that this installation had")
    if service is None and any(installation for installation, _ in parts):
        raise BadInput(f"{origin} holds wrapped keys; set REVS_KEY_SERVICE to the key service that wrapped them")
    if service is not None and not or_plain and not all(installation for installation, _ in parts):
        raise BadInput(
            f"{origin} holds a plain key, and REVS_KEY_SERVICE says that keys are wrapped; run 'revs keys wrap', or "
            "unset it"
        )
    return [
        _unwrapped(service, key, installation, f"line {number} of {origin}")
        if service is not None and installation
        else key
        for number, (installation, key) in enumerate(parts, 1)
    ]


def written(keys: Sequence[bytes], service: KeyService | None, installation: str) -> list[str]:
    """Return the lines that stand for `keys`; each opens again before it is returned.

    Raises:
        OperationFailed: The service does not wrap one, or does not open what it wrapped.
    """
    if service is None:
        return [base64.urlsafe_b64encode(key).decode() for key in keys]
    with _explained("a deployment key cannot be wrapped"):
        wrapped = [service.wrap(key, _context(installation)) for key in keys]
        if [service.unwrap(each, _context(installation)) for each in wrapped] != list(keys):
            raise OperationFailed("the key service opens it to something else; see to the service")
    return [f"{_PREFIX}{installation}:{base64.urlsafe_b64encode(each).decode()}" for each in wrapped]


def installation_of(lines: Sequence[str]) -> str:
    """Return the name that wrapped lines share; a new one where there are none."""
    found = (_WRAPPED.fullmatch(line) for line in lines)
    return next((match[1] for match in found if match), secrets.token_hex(16))


def _parted(line: str, origin: str) -> tuple[str, bytes]:
    """Return the installation of a wrapped line and what the service made; of a plain one an empty name and the key."""
    if not line.startswith(_PREFIX):
        return "", decode_key(line, origin=origin)
    with suppress(binascii.Error):  # no whole bytes
        if match := _WRAPPED.fullmatch(line):
            return match[1], base64.b64decode(match[2], altchars=b"-_", validate=True)
    raise BadInput(f"{origin} is damaged; restore the file that this installation had")


def _unwrapped(service: KeyService, wrapped: bytes, installation: str, origin: str) -> bytes:
    with _explained(origin):
        key = service.unwrap(wrapped, _context(installation))
        if len(key) != KEY_BYTES:
            raise OperationFailed(f"it opens to no key of {KEY_BYTES} bytes; restore the file that was here")
    return key


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except RevsError as error:
        raise type(error)(f"{what}: {error}; nothing was stored or changed") from None


def _context(installation: str) -> dict[str, str]:
    return {"purpose": "revs deployment key", "installation": installation}
