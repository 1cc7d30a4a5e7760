"""IP addresses, version 4 and 6, with an optional prefix length; no versions, object identifiers, `a::b`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.detection.recogniser import Recogniser
from infra.detection.shapes import WORD, touching
from infra.detection.windows import tokens
from infra.identifiers.ip import ipv6_in, suffix_end

# 1.2.3.4, ::, and six groups with colons; literals first, because such an expression is searched fast.
_PROBE = re.compile(r"\.(?<=\d\.)\d{1,3}\.\d{1,3}\.\d|:(?::|(?<=[0-9A-Fa-f]:)(?:[0-9A-Fa-f]{1,4}:){5})", re.ASCII)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PREFIX = r"(?:/(?:[0-2]?[0-9]|3[0-2]))?"
# Before: no word, no longer dotted number, no `Name/` of a product, no pinned `==`.
# After: no further part, no `-rc1` of a version.
_BEFORE = touching("IP_ADDRESS", rf"(?<!(?!_){WORD})", "[0-9]")
_V4 = (
    rf"{_BEFORE}(?<!\.)(?<![A-Za-z]/)(?<!==)(?:{_OCTET}\.){{3}}{_OCTET}{_PREFIX}"
    r"(?!(?!_)" + WORD + r"|\.\d|[\-+][A-Za-z])"
)
_V4_FORM = re.compile(_V4, re.IGNORECASE)
_SLICE = re.compile(r"\w\[")  # `a[1::3]`
_SCORE = 0.6


def build() -> Recogniser:
    """The recogniser of IP_ADDRESS."""
    return Recogniser(type="IP_ADDRESS", spans=spans, windows=tokens(_PROBE))


def spans(text: str) -> Iterator[tuple[int, int, float]]:
    """Start, end and score of every address in the text, with its zone and its prefix length."""
    for hit in _V4_FORM.finditer(text) if "." in text else ():
        if not hit[0].startswith("0."):  # "this network": the address of nobody, and the look of a version
            yield hit.start(), hit.end(), _SCORE
    for start, end, _ in ipv6_in(text) if ":" in text else ():
        if any(character.isdigit() for character in text[start:end]) and not _SLICE.match(text, max(0, start - 2)):
            yield start, suffix_end(text, end), _SCORE
