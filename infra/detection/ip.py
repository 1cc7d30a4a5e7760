"""IP addresses, version 4 and 6, with an optional prefix length; no versions, object identifiers, `a::b`."""

from __future__ import annotations

import ipaddress
import re

from infra.detection.recogniser import Recogniser, from_patterns, patterns
from infra.detection.shapes import WORD
from infra.detection.windows import tokens

# 1.2.3.4, ::, and six groups with colons; literals first, because such an expression is searched fast.
_PROBE = re.compile(r"\.(?<=\d\.)\d{1,3}\.\d{1,3}\.\d|:(?::|(?<=[0-9A-Fa-f]:)(?:[0-9A-Fa-f]{1,4}:){5})", re.ASCII)
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PREFIX = r"(?:/(?:[0-2]?[0-9]|3[0-2]))?"
# Before: no word, no longer dotted number, no `Name/` of a product, no pinned `==`.
# After: no further part, no `-rc1` of a version.
_V4 = (
    rf"(?<!(?!_){WORD})(?<!\.)(?<![A-Za-z]/)(?<!==)(?:{_OCTET}\.){{3}}{_OCTET}{_PREFIX}"
    r"(?!(?!_)" + WORD + r"|\.\d|[\-+][A-Za-z])"
)


def build() -> Recogniser:
    """The recogniser of IP_ADDRESS."""
    from presidio_analyzer.predefined_recognizers import IpRecognizer

    of_version_6 = patterns(
        *(
            (pattern.name, rf"(?<!\w\[)(?:{pattern.regex})", pattern.score)  # `a[1::3]` is a slice
            for pattern in IpRecognizer.PATTERNS
            if pattern.name != "IPv4"
        )
    )
    presidio = IpRecognizer(patterns=[*patterns(("IPv4", _V4, 0.6)), *of_version_6])
    presidio.invalidate_result = _is_no_address
    needs = {"IPv4": "."} | {pattern.name: ":" for pattern in of_version_6}
    return from_patterns("IP_ADDRESS", presidio, tokens(_PROBE), needs)


def _is_no_address(written: str) -> bool:
    if ":" not in written:
        return written.startswith("0.")  # "this network": the address of nobody, and the look of a version
    try:
        ipaddress.ip_interface(written)
    except ValueError:
        return True
    has_digit = any(character.isdigit() for character in written.partition("/")[0])
    return not has_digit or written.count(":") < 2
