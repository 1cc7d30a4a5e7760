"""The evidence of a batch as canonical JSON (RFC 8785), with every gap marked.

JSON knows no NaN and no infinity. Each becomes null *and* an entry of the record's own list `gaps`, so that a value
that could not be computed is never read as one that was not asked for, and never as 0.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Any

import rfc8785

from revs.errors import OperationFailed

SCHEMA = "revs.evidence/1"

# Fields that carry personal data elsewhere in the program. Evidence never has them; if it does, nothing is written.
FORBIDDEN_FIELDS = frozenset(
    {
        *("text", "texts", "prompt", "prompts", "secret", "secrets", "identifier", "identifiers", "sentence"),
        *("plaintext", "ciphertext", "payload", "wrapped_key", "deployment_key", "password", "raw", "raw_line"),
        *("token_text", "token_texts", "token_id", "token_ids", "completion", "completions", "generated"),
    }
)
MAPPINGS = ("batch", "intake", "model", "targets", "edit", "scores", "ranks", "versions", "seconds")
TABLES = ("requests", "datasets", "gates", "attempts")

_LARGEST_EXACT = 2**53 - 1  # a JSON number is a double


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Evidence made storable: plain JSON, its canonical bytes, and what stood at each path that became null."""

    data: dict[str, Any]
    content: bytes
    sha256: str
    gaps: dict[str, str]


def canonical(evidence: Mapping[str, Any]) -> Record:
    """Return the record of `evidence`; the record of a record is itself, byte for byte.

    Raises:
        OperationFailed: another schema, a field that may carry personal data, or a value that JSON cannot hold.
    """
    if evidence.get("schema") != SCHEMA:
        raise OperationFailed(
            f"no report written: its evidence is of schema {str(evidence.get('schema'))[:40]!r}, this program reads"
            f" {SCHEMA!r}; write it with the version of revs that recorded the batch"
        )
    gaps = {str(gap["path"]): str(gap["was"]) for gap in evidence.get("gaps") or ()}
    data = _plain({key: value for key, value in evidence.items() if key != "gaps"}, "", gaps)
    _check_shape(data)
    if gaps:
        data["gaps"] = [{"path": path, "was": was} for path, was in sorted(gaps.items())]
    try:
        content = bytes(rfc8785.dumps(data))
    except ValueError:
        raise OperationFailed("no report written: the evidence holds text that is not valid Unicode") from None
    return Record(data=data, content=content, sha256=hashlib.sha256(content).hexdigest(), gaps=gaps)


def _plain(value: Any, path: str, gaps: dict[str, str]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, float):
        return _finite(float(value), path, gaps)
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _plain(item, f"{path}/{name}", gaps) for name, item in _fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}/{index}", gaps) for index, item in enumerate(value)]
    raise OperationFailed(
        f"no report written: the evidence holds a {type(value).__name__} at {path}, which JSON cannot"
    )


def _whole(value: int) -> int | float | str:
    """A number whose digits survive a reader that knows only doubles; one that would change, as digits in a string."""
    if abs(value) <= _LARGEST_EXACT:
        return value
    with suppress(OverflowError):
        if rfc8785.dumps(float(value)) == str(value).encode():
            return float(value)
    return str(value)


def _finite(value: float, path: str, gaps: dict[str, str]) -> float | None:
    if math.isfinite(value):
        return value
    gaps[path] = "NaN" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    return None


def _fields(value: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    for name in value:
        if str(name).lower() in FORBIDDEN_FIELDS:
            raise OperationFailed(
                f"no report written: the evidence has a field {str(name).lower()!r}, which may carry personal data;"
                " this is a defect of the program, report it"
            )
    return [(str(name), item) for name, item in value.items()]


def _check_shape(data: dict[str, Any]) -> None:
    """Refuse sections of another kind than the schema's: a table read as nothing would look like an empty one."""
    for name in MAPPINGS:
        if not isinstance(data.get(name) or {}, dict):
            raise OperationFailed(f"no report written: the evidence section {name!r} is no object")
    for name in TABLES:
        rows = data.get(name) or []
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise OperationFailed(f"no report written: the evidence section {name!r} is no list of objects")
