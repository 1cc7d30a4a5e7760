"""Plain files that are destroyed once the request store holds what was in them."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from revs.errors import OperationFailed

_CHUNK = 1024 * 1024


def wipe(path: Path, held: bytes) -> None:
    """Overwrite a file with random bytes and remove it; one that holds something else by now is left as it is.

    On SSDs and on file systems that copy on write, and where there are snapshots or backups, the old bytes may stay:
    overwriting proves nothing there.

    Args:
        path: The file; a link is not followed.
        held: What was in it when it was stored.

    Raises:
        OperationFailed: It changed, is no plain file, or cannot be overwritten or removed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or _read(file.fileno(), len(held) + 1) != held:
                raise OperationFailed(
                    f"{path} is another file than was stored, so it was left; what was read before is stored"
                )
            file.seek(0)
            for start in range(0, len(held), _CHUNK):
                file.write(secrets.token_bytes(min(_CHUNK, len(held) - start)))
            os.fsync(file.fileno())
        path.unlink()
        _sync(path.parent)
    except OSError as error:
        raise OperationFailed(
            f"{path} is stored, and cannot be overwritten and removed ({error.strerror}); do that yourself"
        ) from None


def _read(descriptor: int, size: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, min(_CHUNK, size)), b"")) if size else b""


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
