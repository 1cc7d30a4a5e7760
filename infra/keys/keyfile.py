"""Deployment keys on disk: a line each, plain or wrapped by a key service, readable by their owner only.

The first is the key that is used; the others are earlier ones, which still open and find what was stored under them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.keys import lines
from infra.keys.services import KeyService
from revs.errors import BadInput, OperationFailed


def read_or_create_keys(path: Path, service: KeyService | None = None) -> list[bytes]:
    """Return the keys kept in `path`, that in use first; where there is none, make one: of several callers all get it.

    Args:
        path: The key file.
        service: What its lines are wrapped by; None: they are plain.

    Raises:
        BadInput: The file holds no key or one of the other form, or others than its owner may read it.
        OperationFailed: The file cannot be read or written, or the service does not open or wrap a key.
    """
    with _readable(path):
        with contextlib.suppress(FileExistsError):
            if not path.exists():
                _write(path, lines.written([_new()], service, lines.installation_of([])), replace=False)
        return lines.opened(read_lines(path), service, origin=str(path))


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


def add_key(path: Path, service: KeyService | None = None) -> list[bytes]:
    """Put a new key before those kept in `path`, and return all. The file is the old one or the new one at any time.

    Raises:
        BadInput: As `read_or_create_keys`.
        OperationFailed: As `read_or_create_keys`.
    """
    keys, new = read_or_create_keys(path, service), _new()
    with _readable(path):
        kept = read_lines(path)
        _write(path, [*lines.written([new], service, lines.installation_of(kept)), *kept], replace=True)
    return [new, *keys]


def rewrite(path: Path, service: KeyService, *, wrapped: bool) -> int:
    """Write every key of `path` anew, wrapped by `service` or plain, and return how many there are.

    Plain lines and those that the service wrapped may stand side by side. The file is the old one or the new one at any
    time.

    Raises:
        BadInput: As `read_or_create_keys`.
        OperationFailed: As `read_or_create_keys`.
    """
    with _readable(path):
        kept = read_lines(path)
        keys = lines.opened(kept, service, origin=str(path), or_plain=True)
        form = service if wrapped else None
        _write(path, lines.written(keys, form, lines.installation_of(kept)), replace=True)
    return len(keys)


def read_lines(path: Path, *, what: str = "deployment key", setting: str = "REVS_HOME") -> list[str]:
    """Return the lines of a file that keys are kept in.

    Args:
        path: The file.
        what: What is kept there, for messages.
        setting: What says where it is, for messages.

    Raises:
        BadInput: It is a folder, or others than its owner may read it.
        OSError: It cannot be read.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder, and the {what} is a file; move it away, or set {setting} to another")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise BadInput(f"{path} can be read by others than its owner; run: chmod 600 {path}")
    return path.read_text(encoding="ascii", errors="replace").split() or [""]


def _new() -> bytes:
    return secrets.token_bytes(lines.KEY_BYTES)


def _write(path: Path, new: Sequence[str], *, replace: bool) -> None:
    # Written in full under another name first, so no reader sees half a key. `link` never replaces: of two processes
    # that make the first key only one wins.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write("".join(f"{line}\n" for line in new).encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: OSError) -> OperationFailed:
    return OperationFailed(
        f"the deployment key {path} cannot be read or made ({error.strerror}); nothing was stored or changed"
    )
