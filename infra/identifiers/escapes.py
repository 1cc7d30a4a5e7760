r"""What a mail program, a browser, a JSON or log writer or a terminal has put in the place of characters.

quoted-printable `=40`, and a soft line break `=\r\n`;  HTML entities `&#64;`, `&#x40;`, `&commat;`;  percent-encoding
`%40`;  backslashes of JSON, programs and Markdown `\u0040`, `\x40`, `\100`, `\n`, `\/`, `\_`;  colours of a terminal
`ESC[32m`, which stand for nothing, also with the ESC lost or itself escaped.

Each is read once: `&amp;#64;` is `&#64;`; but a backslash may stand for many, as in JSON within JSON. An escape is
ambiguous: `x=20` is also an assignment. An `=` with two decimal digits is no escape in front of a third.
"""

from __future__ import annotations

import html.entities
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

Units = tuple[tuple[str, int], ...]
"""What an escape stands for, in parts: characters, and how many of its own they take the place of."""

MARKS = "=%&\\\x1b["
"""The characters that an escape may begin with."""

_QUOTED = r"(?:[0-9]{2}(?![0-9])|[0-9][A-F]|[A-F][0-9A-F])"
_BACK = r"\\{1,8}"
_ESC = rf"(?:\x1b|{_BACK}(?:e|0?33|x1[bB]|u001[bB]))"
_COLOUR = rf"{_ESC}?\[[0-9;]{{1,14}}m|{_ESC}\[[0-9;?]{{0,14}}[A-Za-z]"
_HEX_BYTE = rf"{_BACK}x[0-9A-Fa-f]{{2}}"
PATTERN = (
    r"[=%&](?:"
    r"(?<==)[ \t]*\r?\n"
    rf"|(?<==){_QUOTED}(?:={_QUOTED})*"
    r"|(?<=%)[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*"
    r"|(?<=&)(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r")"
    rf"|{_COLOUR}"
    rf"|(?:{_HEX_BYTE})+"
    rf"|{_BACK}(?:u[0-9A-Fa-f]{{4}}(?:{_BACK}u[dD][c-fC-F][0-9A-Fa-f]{{2}})?|u\{{[0-9A-Fa-f]{{1,6}}\}}|U[0-9A-Fa-f]{{8}}"
    r"|[01][0-7]{2}|[23][0-7]{2}(?![0-9])|[nrt]|[ -/:-@\[\]^_`{-~])"
)
ESCAPE = re.compile(PATTERN)
_MAY_BEGIN = re.compile(
    r"[=%&\\\x1b\[](?=(?<==)(?:[ \t]*\r?\n|[0-9A-F]{2})|(?<=%)[0-9A-Fa-f]{2}|(?<=&)(?:#|[A-Za-z][A-Za-z0-9]{1,31};)"
    r"|(?<=\[)[0-9;]{1,14}m|(?<=[\\\x1b]))"
)
"""A mark that may begin an escape, found at the speed of C: most marks do not."""
_BYTE = re.compile(r"[=%]([0-9A-Fa-f]{2})|\\+x([0-9A-Fa-f]{2})")
_CODE = re.compile(r"\\+[uU]\{?([0-9A-Fa-f]{1,8})")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}


def may_hold_escapes(text: str) -> bool:
    """Whether `text` holds a mark of an escape; fast."""
    return "=" in text or "&" in text or "%" in text or "\\" in text or "\x1b" in text or "[" in text


def escapes(text: str) -> Iterator[tuple[int, Units]]:
    """Where in `text` an escape begins, and what it stands for; in order, and none within another."""
    done = 0
    for mark in _MAY_BEGIN.finditer(text):
        at = mark.start()
        hit = ESCAPE.match(text, at) if at >= done else None
        units = _units(hit[0]) if hit else None
        if hit and units is not None:
            yield at, units
            done = hit.end()


def stands_for(escape: str) -> str | None:
    """The characters that an escape stands for; None where it is none, as an entity without a meaning."""
    units = _units(escape)
    return None if units is None else "".join(part for part, _ in units)


def places(text: str, *of: str) -> list[int]:
    """Where any of these strings stands, in ascending order; faster than an expression where they are few."""
    found = []
    for one in of:
        at = text.find(one)
        while at >= 0:
            found.append(at)
            at = text.find(one, at + 1)
    return sorted(found) if len(of) > 1 else found


@lru_cache(maxsize=1 << 12)  # few escapes stand in a text, again and again
def _units(escape: str) -> Units | None:
    if escape[0] == "&":
        known = _entity(escape[1:-1])
        return None if known is None else ((known, len(escape)),)
    if escape[0] in "\x1b[" or _is_colour(escape) or escape[-1] == "\n":
        return (("", len(escape)),)
    if escape[0] == "\\" and "x" not in escape:
        return _of_backslash(escape)
    hits = list(_BYTE.finditer(escape))
    return _of_bytes(bytes.fromhex("".join(hit[1] or hit[2] for hit in hits)), [len(hit[0]) for hit in hits])


def _is_colour(escape: str) -> bool:
    return "[" in escape[:-1] and escape[0] == "\\"


def _entity(name: str) -> str | None:
    if name[0] != "#":
        return html.entities.html5.get(f"{name};")
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return _character(code) if code else None


def _character(code: int) -> str | None:
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else None


def _of_backslash(escape: str) -> Units | None:
    body = escape.lstrip("\\")
    if body in _CONTROL:
        return ((_CONTROL[body], len(escape)),)
    if body[0] in "uU":
        return _of_codes(escape, [int(code, 16) for code in _CODE.findall(escape)])
    if len(body) == 3:
        return ((chr(int(body, 8)), len(escape)),)
    return ("", len(escape) - 1), (body, 1)  # the sign stands there itself


def _of_codes(escape: str, codes: Sequence[int]) -> Units | None:
    if len(codes) == 2:  # halves of one character, where the first is a first half
        if not 0xD800 <= codes[0] < 0xDC00:
            return None
        codes = [0x10000 + ((codes[0] - 0xD800) << 10) + codes[1] - 0xDC00]
    known = _character(codes[0])
    return None if known is None else ((known, len(escape)),)


def _of_bytes(raw: bytes, widths: Sequence[int]) -> Units:
    """Characters of UTF-8; of Latin-1 where it is none."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return tuple(zip(raw.decode("latin-1"), widths, strict=True))
    units, at = [], 0
    for character in text:
        end = at + len(character.encode())
        units.append((character, sum(widths[at:end])))
        at = end
    return tuple(units)
