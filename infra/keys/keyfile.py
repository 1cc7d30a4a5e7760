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
    with _usable(path):
        is_new = not path.exists()
    if is_new:
        _write(path, lines.written([_new()], service, lines.installation_of([])), replace=False)
    return lines.opened(_kept(path), service, origin=str(path))


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process changes the keys in `path`, and keep others out until the end.

    Raises:
        OperationFailed: The lock beside the file cannot be made.
    """
    with _usable(path):
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(lock, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add_key(path: Path, service: KeyService | None = None) -> list[bytes]:
    """Put a new key before those kept in `path`, and return all. The file is the old one or the new one at any time.

    Raises:
        BadInput: As `read_or_create_keys`.
        OperationFailed: As `read_or_create_keys`.
    """
    keys, new, kept = read_or_create_keys(path, service), _new(), _kept(path)
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
    kept = _kept(path)
    keys = lines.opened(kept, service, origin=str(path), or_plain=True)
    _write(path, lines.written(keys, service if wrapped else None, lines.installation_of(kept)), replace=True)
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


def _kept(path: Path) -> list[str]:
    with _usable(path):
        return read_lines(path)


def _new() -> bytes:
    return secrets.token_bytes(lines.KEY_BYTES)


def _write(path: Path, new: Sequence[str], *, replace: bool) -> None:
    # Written in full under another name first, so no reader sees half a key. `link` never replaces: of two processes
    # that make the first key only one wins.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with _usable(path):
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write("".join(f"{line}\n" for line in new).encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(draft, path)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperationFailed(
            f"the deployment key {path} cannot be read or made ({error.strerror}); nothing was stored or changed"
        ) from None
