"""The JSON objects of a request file: one a line, spread over several lines, or the items of one array.

One a line is the rule, since there a bad line spoils itself only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from infra.requests.fields import Malformed
from revs.errors import BadInput

MOST = 50_000
"""Requests of one file, which are stored in one transaction."""
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
        found = list(_few(_items(lines, name), name))
        if not found:
            raise BadInput(f"{name} is an empty JSON array; it holds no deletion request")
        return found
    found, at, spread, text = [], 0, True, None
    while at < len(lines):
        taken = 1
        if spread and lines[at][1].lstrip().startswith(b"{") and not _is_json(lines[at][1]):
            text = text or _Text(lines)
            reach = text.reach(at)
            spread = reach > 0  # whatever is broken there is one line, and so are those that follow
            taken = max(reach, 1)
        line = lines[at][0]
        found.append(Document(line=line, place="line", raw=_joined(lines[at : at + taken])))
        refuse_too_many(len(found), name)
        at += taken
    # Where none is an object of its own that may be a request, they are parts of a larger one that is broken.
    if len(lines) > 1 and not spread and not any(_is_json(each.raw) and b'"subject' in each.raw for each in found):
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


def refuse_too_many(number: int, name: str) -> None:
    """Raise BadInput where a file holds more requests than `MOST`."""
    if number > MOST:
        raise BadInput(f"{name} holds more than {MOST:,} requests; split it into several files")


def decode(raw: bytes) -> str:
    """Return the text; Malformed where it is no UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:  # the error holds the line
        raise Malformed("not_utf8") from None


class _Text:
    """The lines as one text, made once: a file of many objects over many lines is read in time that grows with it."""

    def __init__(self, lines: Sequence[Line]) -> None:
        decoded = [raw.decode("utf-8", "replace") for _, raw in lines]
        self._starts = [0, *accumulate(len(each) + 1 for each in decoded)]
        self._text = "\n".join(decoded)

    def reach(self, at: int) -> int:
        """Over how many lines the object reaches that begins a line; 0 where none does, or more follows it."""
        start = self._starts[at]
        while self._text[start].isspace():
            start += 1
        try:
            _, end = _DECODER.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            return 0
        stop = self._text.find("\n", end)
        rest = self._text[end:] if stop < 0 else self._text[end:stop]
        return 0 if rest.strip(" \t\r,") else self._text.count("\n", start, end) + 1


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Malformed("field_twice")
    return dict(pairs)


def _joined(lines: Sequence[Line]) -> bytes:
    return b"\n".join(raw for _, raw in lines)


def _items(lines: Sequence[Line], name: str) -> Iterator[Document]:
    """The items of an array, whose bytes are taken as they stand; read one at a time, since they may be many."""
    try:
        text = _joined(lines).decode()
        at, number = _skip(text, text.index("[") + 1), 0
        while number or text[at : at + 1] != "]":
            _, end = _DECODER.raw_decode(text, at)
            number += 1
            yield Document(line=number, place="item", raw=text[at:end].encode())
            at = _skip(text, end)
            if text[at : at + 1] != ",":
                break
            at = _skip(text, at + 1)
        if text[at : at + 1] != "]" or _skip(text, at + 1) < len(text):
            raise ValueError
    except (ValueError, RecursionError):
        _refuse(lines, name)
        raise _unreadable(name) from None


def _few(found: Iterable[Document], name: str) -> Iterator[Document]:
    for number, each in enumerate(found, start=1):
        refuse_too_many(number, name)
        yield each


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


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
        raise _unreadable(name) from None


def _unreadable(name: str) -> BadInput:
    return BadInput(f"{name} is JSON that cannot be read; {_REMEDY}")
