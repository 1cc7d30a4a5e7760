"""The deployment key on disk: 32 random bytes as urlsafe base64, made once, readable by its owner only."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
from pathlib import Path

from revs.errors import BadInput, OperationFailed

KEY_BYTES = 32


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


def read_or_create_key(path: Path) -> bytes:
    """Return the key kept in `path`; where there is none, make one, so that of several first callers all get the same.

    Raises:
        BadInput: The file holds no key, or others than its owner may read it.
        OperationFailed: The file cannot be read or written.
    """
    try:
        if not path.exists():
            _create(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadInput(f"{path} can be read by others than its owner; run: chmod 600 {path}")
        return decode_key(path.read_text(encoding="ascii", errors="replace"), origin=str(path))
    except OSError as error:
        raise OperationFailed(
            f"the deployment key {path} cannot be read or made ({error.strerror}); nothing was stored or changed"
        ) from None


def _create(path: Path) -> None:
    # Written in full under another name, then linked: `link` never replaces, so no reader sees half a key and of two
    # processes only one wins.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
