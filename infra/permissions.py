"""Files that nobody but their owner reads."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def owner_only() -> Iterator[None]:
    """Give whatever is created meanwhile to its owner alone, files of other threads of this process included."""
    before = os.umask(_OTHERS)
    try:
        yield
    finally:
        os.umask(before)


def create_private(path: Path) -> None:
    """Make an empty file that its owner alone may read, or take the others' rights to it away if it exists."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    make_private(path)


def make_private(path: Path) -> None:
    """Take the rights of others to a file or folder away where this process may; `open_to_others` tells the rest."""
    with suppress(OSError):
        if mode := open_to_others(path):
            path.chmod(mode & ~_OTHERS)


def open_to_others(path: Path) -> int | None:
    """The mode of a file or folder to which others than its owner have rights; None where they have none."""
    mode = stat.S_IMODE(path.stat().st_mode)
    return mode if mode & _OTHERS else None
