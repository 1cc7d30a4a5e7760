"""Deployment keys on disk: 32 random bytes each as urlsafe base64, a line each, readable by their owner only.

The first is the key that is used; the others are earlier ones, which still open and find what was stored under them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
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


def read_or_create_keys(path: Path) -> list[bytes]:
    """Return the keys kept in `path`, that in use first; where there is none, make one: of several callers all get it.

    Raises:
        BadInput: The file holds no key, or others than its owner may read it.
        OperationFailed: The file cannot be read or written.
    """
    try:
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                _write(path, [_new()], replace=False)
        return _read(path)
    except OSError as error:
        raise _unusable(path, error) from None


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process changes the keys in `path`, and keep others out until the end.

    Raises:
        OperationFailed: The lock beside the file cannot be made.
    """
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from None
    with os.fdopen(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_key(path: Path) -> list[bytes]:
    """Put a new key before those kept in `path`, and return all. The file is the old one or the new one at any time.

    Raises:
        BadInput: As `read_or_create_keys`.
        OperationFailed: As `read_or_create_keys`.
    """
    keys = [_new(), *read_or_create_keys(path)]
    try:
        _write(path, keys, replace=True)
    except OSError as error:
        raise _unusable(path, error) from None
    return keys


def _read(path: Path) -> list[bytes]:
    if path.is_dir():
        raise BadInput(
            f"{path} is a folder, and the deployment key is a file; move it away, or set REVS_HOME to another"
        )
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    lines = path.read_text(encoding="ascii", errors="replace").split() or [""]
    return [decode_key(line, origin=str(path)) for line in lines]


def _new() -> bytes:
    return secrets.token_bytes(KEY_BYTES)


def _write(path: Path, keys: Sequence[bytes], *, replace: bool) -> None:
    # Written in full under another name first, so no reader sees half a key. `link` never replaces: of two processes
    # that make the first key only one wins.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(base64.urlsafe_b64encode(key) + b"\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _unusable(path: Path, error: OSError) -> OperationFailed:
    return OperationFailed(
        f"the deployment key {path} cannot be read or made ({error.strerror}); nothing was stored or changed"
    )
