"""Names of hosts in letters of any script, and in the letters of ASCII that stand for them (IDN, RFC 3492)."""

from __future__ import annotations

import re
import unicodedata

_LABEL = re.compile(r"[^\W_]+(?:-+[^\W_]+)*")
_MARK = "xn--"
_EMAIL = re.compile(r"(.*@)([^@]*)()", re.DOTALL)
_URL = re.compile(r"((?:\w+://)?(?:[^/?#@]*@)?)([^/?#:]*)(.*)", re.DOTALL)


def spellings(type_: str, value: str) -> tuple[str, ...]:
    """The value as it is, and with its host in letters of its own script and in those of ASCII."""
    if value.isascii() and _MARK not in value.lower():
        return (value,)
    parts = (_EMAIL if type_ == "EMAIL_ADDRESS" else _URL).fullmatch(unicodedata.normalize("NFKC", value))
    if parts is None:
        return (value,)
    before, host, after = parts.groups()
    return tuple(dict.fromkeys((value, *(f"{before}{way(host)}{after}" for way in (in_letters, in_ascii)))))


def in_letters(host: str) -> str:
    """The host with each label that begins with `xn--` in its own script; what is no such name stays."""
    return _LABEL.sub(lambda label: _decoded(label[0]), host)


def in_ascii(host: str) -> str:
    """The host with each label that is not ASCII as `xn--` and its Punycode."""
    return _LABEL.sub(lambda label: _encoded(label[0]), host)


def _decoded(label: str) -> str:
    if not label.lower().startswith(_MARK):
        return label
    try:
        return label[len(_MARK) :].encode("ascii").decode("punycode")
    except (UnicodeError, ValueError):
        return label


def _encoded(label: str) -> str:
    if label.isascii():
        return label
    try:
        return _MARK + label.lower().encode("punycode").decode("ascii")
    except UnicodeError:
        return label
