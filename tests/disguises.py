"""Every disguise of an identifier in a text: what search and detection see through, and no leak may hide in.

for name, written in disguises("EMAIL_ADDRESS", "ada.lowen@example.com"):
    assert written not in report
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote

from infra.identifiers import hosts, phones
from infra.identifiers.normalise import fold

_NO_ESCAPE = re.compile(r"=[0-9]{3}")  # two decimal digits behind an = are no escape in front of a third
Disguise = Callable[[str], str]

_NUMBERS = frozenset({"US_SSN", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE"})


def _each(form: str) -> Disguise:
    """Every sign that is no letter or digit in this form."""
    return lambda value: "".join(c if c.isalnum() or not c.isascii() else form.format(c=c, n=ord(c)) for c in value)


def _first(form: str) -> Disguise:
    """The first letter or digit inside the value in this form: behind it the rest is as it was."""
    return lambda value: f"{value[0]}{form.format(c=value[1], n=ord(value[1]))}{value[2:]}"


def _inside(what: str) -> Disguise:
    return lambda value: f"{value[: len(value) // 2]}{what}{value[len(value) // 2 :]}"


def _around(before: str, after: str = "") -> Disguise:
    return lambda value: f"{before}{value}{after}"


def _instead(old: str, new: str) -> Disguise:
    return lambda value: value.replace(old, new)


def _wide(value: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)


def _digits_of(zero: str) -> Disguise:
    return lambda value: "".join(chr(ord(zero) + int(c)) if c in "0123456789" else c for c in value)


ESCAPES: dict[str, Disguise] = {
    "percent-encoded": lambda value: quote(value, safe=""),
    "quoted-printable": _each("={n:02X}"),
    "a soft line break": _inside("=\r\n"),
    "HTML, decimal": _each("&#{n};"),
    "HTML, hexadecimal": _each("&#x{n:x};"),
    "JSON, signs": _each("\\u{n:04x}"),
    "JSON, a letter": _first("\\u{n:04x}"),
    "hexadecimal bytes": _each("\\x{n:02x}"),
    "octal bytes": _each("\\{n:03o}"),
    "a backslash before signs": _each("\\{c}"),
    "JSON in JSON": _each("\\\\u{n:04X}"),
    "between line feeds of JSON": _around("mail\\n", "\\nbye"),
    "between tabs of JSON": _around("\\t", "\\t"),
    "between brackets of JSON": _around("\\u003c", "\\u003e"),
    "between entities": lambda value: f"&lt;{html.escape(value)}&gt;",
    "between encoded brackets": _around("%3C", "%3E"),
    "in a colour": _around("\x1b[32m", "\x1b[0m"),
    "a colour inside": _inside("\x1b[1;31m"),
    "a colour without its ESC": _around("[32m", "[0m"),
    "an escaped colour": _around("\\u001b[32m", "\\u001b[0m"),
}
INVISIBLE: dict[str, Disguise] = {
    name: _inside(character)
    for name, character in {
        "zero-width space": "\u200b",
        "zero-width joiner": "\u200d",
        "word joiner": "\u2060",
        "byte order mark": "\ufeff",
        "soft hyphen": "\u00ad",
        "left-to-right mark": "\u200e",
    }.items()
}
CHARACTERS: dict[str, Disguise] = {
    "full-width": _wide,
    "bold digits": _digits_of("\U0001d7ce"),
    "Arabic digits": _digits_of("\u0660"),
    "non-breaking hyphen": _instead("-", "\u2011"),
    "minus sign": _instead("-", "\u2212"),
    "no-break space": _instead(" ", "\u00a0"),
    "narrow no-break space": _instead(" ", "\u202f"),
    "thin space": _instead(" ", "\u2009"),
    "figure space": _instead(" ", "\u2007"),
}
OF_NUMBERS: dict[str, Disguise] = {"en dash": _instead("-", "\u2013"), "spaces for hyphens": _instead("-", " ")}


def disguises(type_: str, value: str) -> Iterator[tuple[str, str]]:
    """Every disguise of the value by its name, and first the value itself; those that change nothing are left out."""
    yield "as it is", value
    known = ESCAPES | INVISIBLE | CHARACTERS | (OF_NUMBERS if type_ in _NUMBERS else {})
    seen = {value}
    for name, disguise in known.items():
        written = disguise(value)
        if written not in seen and not _NO_ESCAPE.search(written):
            seen.add(written)
            yield name, written
    yield from _of_type(type_, value)


def _of_type(type_: str, value: str) -> Iterator[tuple[str, str]]:
    if type_ in {"EMAIL_ADDRESS", "URL"}:
        yield from ((f"host {way!a}", way) for way in hosts.spellings(type_, value)[1:])
    if type_ == "PHONE_NUMBER":
        yield from ((f"{len(form)} digits", form) for form in dict.fromkeys(phones.forms(fold(value).text)))
        yield from (("an extension", f"{value}x341"), ("an extension in words", f"{value} ext. 341"))
    if type_ == "IP_ADDRESS" and ":" not in value:
        yield "as version 6", f"::ffff:{value}"
    if type_ == "US_SSN":
        yield "a label that touches it", f"SSN{value}"
