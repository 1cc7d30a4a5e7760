"""The JSON objects of a request file: one a line, spread over several lines, or the items of one array.

One a line is the rule, since there a bad line spoils itself only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from infra.requests.fields import Malformed
from revs.errors import BadInput

Line = tuple[int, bytes]
"""The number of a line, from 1, and its bytes."""
_DECODER = json.JSONDecoder()
_REMEDY = "mend it there, or write one request a line (JSON Lines)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What stands for one request: its first line, or of an array the number of the item, and its bytes."""

    line: int
    place: Literal["line", "item"]  # of what `line` is the number
    raw: bytes = field(repr=False)


def split(lines: Sequence[Line], *, name: str) -> list[Document]:
    """Split the lines of a file, blank ones left out, into what stands for its requests.

    Raises:
        BadInput: It is an array or an object over several lines, and not JSON at some place.
    """
    if lines[0][1].lstrip().startswith(b"["):
        found = list(_items(lines, name))
        if not found:
            raise BadInput(f"{name} is an empty JSON array; it holds no deletion request")
        return found
    found, at, spread = [], 0, True
    while at < len(lines):
        taken = 1
        if spread and lines[at][1].lstrip().startswith(b"{") and not _is_json(lines[at][1]):
            reach = _reach(lines[at:])
            spread = reach > 0  # whatever is broken there is one line, and so are those that follow
            taken = max(reach, 1)
        line = lines[at][0]
        found.append(Document(line=line, place="line", raw=_joined(lines[at : at + taken])))
        at += taken
    # Where none is an object of its own that may be a request, they are parts of a larger one that is broken.
    if len(lines) > 1 and not spread and not any(_is_json(each.raw) and b'"subject"' in each.raw for each in found):
        _refuse(lines, name)
    return found


def parse(raw: bytes) -> dict[str, object]:
    """Return the JSON object that the bytes hold.

    Raises:
        Malformed: They hold something else, or a field twice.
    """
    try:
        value = json.loads(decode(raw).strip().removesuffix(","), object_pairs_hook=_unique)
    except (ValueError, RecursionError):  # the error's text may quote the line
        raise Malformed("not_json") from None
    if not isinstance(value, dict):
        raise Malformed("no_object")
    return value


def decode(raw: bytes) -> str:
    """Return the text; Malformed where it is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:  # the error holds the line
        raise Malformed("not_utf8") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Malformed("field_twice")
    return dict(pairs)


def _joined(lines: Sequence[Line]) -> bytes:
    return b"\n".join(raw for _, raw in lines)


def _items(lines: Sequence[Line], name: str) -> Iterator[Document]:
    """The items of an array, whose bytes are taken as they stand."""
    _refuse(lines, name)
    text = _joined(lines).decode()
    at, number = text.index("[") + 1, 0
    while (at := _skip(text, at)) < len(text) and text[at] != "]":
        _, end = _DECODER.raw_decode(text, at)
        number += 1
        yield Document(line=number, place="item", raw=text[at:end].encode())
        at = end


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at


def _reach(lines: Sequence[Line]) -> int:
    """Over how many lines the object reaches that begins with the first; 0 where none does, or more follows it."""
    text = _joined(lines).decode("utf-8", "replace")
    start = len(text) - len(text.lstrip())
    try:
        _, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return 0
    rest, _, _ = text[end:].partition("\n")
    return 0 if rest.strip(" \t\r,") else text.count("\n", 0, end) + 1


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(lines: Sequence[Line], name: str) -> None:
    """Raise BadInput where the lines together are not JSON."""
    try:
        json.loads(_joined(lines))
    except json.JSONDecodeError as error:
        number = lines[min(error.lineno, len(lines)) - 1][0]
        raise BadInput(f"{name} is not JSON from line {number} on; {_REMEDY}") from None
    except (ValueError, RecursionError):  # text that is no UTF-8, and numbers and depths beyond reading
        raise BadInput(f"{name} is JSON that cannot be read; {_REMEDY}") from None
