"""IPv6 addresses in a text, compared as addresses: of one there are many spellings, too many to be listed.

`2001:db8::9` and `2001:0DB8:0:0:0:0:0:9` are one address, and so are `::ffff:192.0.2.9` and `192.0.2.9`. A zone
(`fe80::9%eth0`) and a prefix length belong to the place where an address stands, not to the address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from infra.identifiers.boundaries import is_label

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PROBE = re.compile(r":(?::|(?<=[0-9A-Fa-f]:)(?:[0-9A-Fa-f]{1,4}:){5})")
"""Stands in every address of version 6; begins with a literal, because such an expression is searched fast."""
_BODY = frozenset("0123456789abcdefABCDEF:.")
_LONGEST = 45
_SUFFIX = re.compile(r"(?:%[0-9A-Za-z]{1,16})?(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])(?![0-9]))?")


def address_of(value: str) -> Address | None:
    """The address that is written so, without brackets, zone and prefix length; None where it is none."""
    bare = value.strip().strip("[]").partition("/")[0].partition("%")[0].rstrip("]")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def suffix_end(text: str, end: int) -> int:
    """The end of the zone and the prefix length after an address that ends at `end`."""
    found = _SUFFIX.match(text, end)
    return found.end() if found else end


def ipv6_in(text: str) -> Iterator[tuple[int, int, Address]]:
    """Start, end and value of every address of version 6 in the text, without zone and prefix length."""
    done = 0
    hit = _PROBE.search(text)
    while hit:
        start, end = _extent(text, hit.start(), done)
        found = _best(text, start, end)
        done = end
        if found is not None:
            yield found
            done = found[1]
        hit = _PROBE.search(text, max(done, hit.end()))


def _extent(text: str, at: int, least: int) -> tuple[int, int]:
    """The stretch around `at` of characters that an address may hold."""
    start, end = at, at
    while start > max(least, at - _LONGEST) and text[start - 1] in _BODY:
        start -= 1
    while end < len(text) and end < at + _LONGEST and text[end] in _BODY:
        end += 1
    return start, end


def _best(text: str, start: int, end: int) -> tuple[int, int, Address] | None:
    """The address in this stretch, without the punctuation on both sides of it."""
    if start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_") and not is_label("IP_ADDRESS", text, start):
        start = text.find(":", start, end)  # a word that happens to end in such a letter
        if text.startswith("::", start):
            return None
    if text[start] == ":" and text[start + 1 : start + 2] != ":":
        start += 1
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end = max(text.rfind(":", start, end), text.rfind(".", start, end))
    while end > start and (text[end - 1] == "." or (text[end - 1] == ":" and text[end - 2 : end - 1] != ":")):
        end -= 1
    if end - start < 2 or text.count(":", start, end) < 2:
        return None
    found = address_of(text[start:end])
    if found is None and text[start:end].endswith("::"):
        end -= 2
        found = address_of(text[start:end]) if text.count(":", start, end) > 1 else None
    return None if found is None else (start, end, found)
