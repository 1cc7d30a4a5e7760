"""When a match stands alone, and when it is a part of something longer.

A match is refused where a letter or digit touches it, and where a joiner ties it to more of the same kind:
`a@example.com` does not stand in `aa@example.com`, `x.a@example.com` or `a@example.com.au`, nor 219-41-5522 in
9219-41-55221 or 219-41-5522-7. It does stand in `<a@example.com>.` and in `SSN:219-41-5522,`.
A label that touches a number is no part of it, as in `SSN219-41-5522`; nor is the extension after a phone number.
Scripts written without spaces (Chinese, Japanese, Thai, Korean particles) end no word, so their letters tie nothing.
All positions are in folded text (infra/identifiers/normalise.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.identifiers.phones import EXTENSION

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
)
_DIGIT = re.compile(r"[0-9]")
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_HEX = re.compile(r"[0-9a-f:]")
_COUNTRY_CODE = re.compile(r"(?<![0-9a-z.\-])\+?[0-9]{1,3}[-.]$")
_URL_OPENING = re.compile(r"(?:https?://(?:www\.)?|www\.)$")
_LOOK_BACK = 16
LABELS = {
    "US_SSN": ("ssn", "itin", "tin"),
    "PHONE_NUMBER": ("tel", "phone", "telefon", "fax", "cell", "mobile", "mobil", "handy", "call", "ph"),
    "CREDIT_CARD": ("card", "visa", "amex", "discover", "cc", "pan"),
    "IBAN_CODE": ("iban",),
    "IP_ADDRESS": ("ip", "host", "addr", "address"),
    "URL": ("url", "link", "website", "site"),
}
"""Words after which such an identifier may stand without a space; of a number at most eight letters, which detection
looks at (EDGE in infra/detection/windows.py)."""
_LABEL_BEFORE = {
    type_: re.compile(rf"(?<![^\W_])(?:{'|'.join(words)})$", re.IGNORECASE) for type_, words in LABELS.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Joiners that tie a match to its neighbourhood when a character of `tied` stands on their far side."""

    before: str
    after: str
    tied: re.Pattern[str] = _LETTER_OR_DIGIT


NUMBER = Edge(before="-.", after="-.", tied=_DIGIT)
IPV6 = Edge(before=".:", after=".:", tied=_HEX)
EDGES = {
    "EMAIL_ADDRESS": Edge(before=".-_+", after=".-"),
    "URL": Edge(before=".-_@", after=".-_"),
    "IP_ADDRESS": Edge(before=".", after=".", tied=_DIGIT),
    "PERSON": Edge(before="-", after="-"),
    "CUSTOM": Edge(before="-._", after="-._"),
    "US_SSN": NUMBER,
    "PHONE_NUMBER": NUMBER,
    "CREDIT_CARD": NUMBER,
    "IBAN_CODE": NUMBER,
}


def with_opening(text: str, start: int, end: int, type_: str) -> int:
    """Where the match begins with what is written before it as a part of it: `https://www.`, `+`, a closed `(`."""
    if type_ == "PHONE_NUMBER":
        return _with_signs(text, start, end)
    found = _URL_OPENING.search(text, max(0, start - _LOOK_BACK), start) if type_ == "URL" else None
    return found.start() if found else start


def _with_signs(text: str, start: int, end: int) -> int:
    closing = text.count(")", start, end) - text.count("(", start, end)
    first = max(0, start - 2)
    while start > first and (text[start - 1] == "+" or (text[start - 1] == "(" and closing > 0)):
        closing -= text[start - 1] == "("
        start -= 1
    return start


def stands_alone(text: str, start: int, end: int, type_: str) -> bool:
    """Whether `text[start:end]` is the whole of an identifier of this type, not a part of a longer one."""
    edge = IPV6 if type_ == "IP_ADDRESS" and ":" in text[start:end] else EDGES[type_]
    return _free_before(text, start, edge, type_) and _free_after(text, end, edge, type_)


def is_label(type_: str, text: str, end: int) -> bool:
    """Whether a word ends at `end` that names this type and may touch what it names."""
    known = _LABEL_BEFORE.get(type_)
    return known is not None and known.search(text, max(0, end - _LOOK_BACK), end) is not None


def _is_word(character: str) -> bool:
    return character.isalnum() and not _UNSPACED.match(character)


def _free_before(text: str, start: int, edge: Edge, type_: str) -> bool:
    if start == 0 or not text[start].isalnum():
        return True
    previous = text[start - 1]
    if _is_word(previous):
        return is_label(type_, text, start)
    if start == 1 or previous not in edge.before or not edge.tied.match(text[start - 2]):
        return True
    return type_ == "PHONE_NUMBER" and bool(_COUNTRY_CODE.search(text, max(0, start - _LOOK_BACK), start))


def _free_after(text: str, end: int, edge: Edge, type_: str) -> bool:
    if end == len(text) or not text[end - 1].isalnum():
        return True
    if type_ == "PHONE_NUMBER" and EXTENSION.match(text, end):
        return True
    following = text[end]
    if _is_word(following):
        return False
    return end + 1 == len(text) or following not in edge.after or not edge.tied.match(text[end + 1])
