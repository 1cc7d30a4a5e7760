"""Keys of tests, files of them, and the forms in which one could show in a text; no tests here."""

from __future__ import annotations

import base64
import traceback
from pathlib import Path

KEK, OTHER = bytes(range(100, 132)), bytes(range(50, 82))
KEY, EARLIER = bytes(range(32)), bytes(range(1, 33))


def encoded(key: bytes) -> str:
    """A key as key files have it."""
    return base64.urlsafe_b64encode(key).decode()


def shows(text: str, *keys: bytes) -> bool:
    """Whether a text holds one of the keys in some form; of base64 the part suffices that no padding touches."""
    forms = [
        form
        for key in keys
        for form in (key.hex(), repr(key)[2:-1], encoded(key)[:40], base64.b64encode(key).decode()[:40])
    ]
    return any(form in text for form in forms)


def told(error: BaseException) -> str:
    """Everything that an error tells: its text, its repr and its traceback with all that led to it."""
    return "".join([str(error), repr(error), *traceback.format_exception(error)])


def kept(path: Path, *keys: bytes) -> Path:
    """Write keys to a file of their owner's alone."""
    path.write_text("".join(f"{encoded(key)}\n" for key in keys))
    path.chmod(0o600)
    return path


def address(path: Path) -> str:
    """Of the key service whose keys a file holds."""
    return f"file://{path}"
