"""Ends of the audit log, kept in a file that lies elsewhere than the database: one JSON line each, never rewritten."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from infra.requests import rows
from infra.requests.chain import Head
from revs.errors import BadInput, OperationFailed


def append(path: Path, head: Head) -> None:
    """Add an end of the log to the file; it is on the disk when this returns.

    Raises:
        OperationFailed: the file cannot be written.
    """
    said = {"at": rows.now().isoformat(timespec="seconds"), "count": head.count, "mac": head.mac}
    said |= {"size": head.size, "root": head.root}
    if head.timestamp is not None:
        said["timestamp"] = base64.b64encode(head.timestamp).decode()
    line = json.dumps({name: value for name, value in said.items() if value is not None})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OperationFailed(
            f"the end of the audit log cannot be noted in {path} ({error.strerror}); make it writable"
        ) from None


def noted(path: Path | None, *, begun: bool) -> list[Head]:
    """Return the ends that this installation noted; none where it notes none, or no batch has ended yet.

    Args:
        path: `REVS_LOG_HEADS`.
        begun: whether a batch has ended, so that there must be one.

    Raises:
        BadInput: as `read`; or the file is gone, and with it all that a log which was cut off could be found by.
    """
    if path is None or (not begun and not path.exists()):
        return []
    if not path.exists():
        raise BadInput(
            f"REVS_LOG_HEADS names {path}, which is not there, though batches have ended: mount or restore it; where "
            f"none was noted yet, begin with 'revs log head --append {path}'"
        )
    return read(path)


def read(path: Path) -> list[Head]:
    """Return the ends in the file, in its order; a missing file is an error, an empty one is not.

    Raises:
        BadInput: there is no such file, or a line in it is none of ours.
    """
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return [_head(line) for line in lines]
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); name the file of 'revs log head --append'") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise BadInput(f"{path} has a line that 'revs log head --append' did not write; restore it") from None


def _head(line: dict[str, Any]) -> Head:
    size, root, timestamp = (line.get(name) for name in ("size", "root", "timestamp"))  # earlier programs noted none
    return Head(
        count=int(line["count"]),
        mac=str(line["mac"]),
        size=None if size is None else int(size),
        root=None if root is None else str(root),
        timestamp=None if timestamp is None else base64.b64decode(timestamp, validate=True),
    )
