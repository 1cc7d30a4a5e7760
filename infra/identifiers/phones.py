"""Phone numbers as one writes them: national or international, with an extension after them or without.

A national number tells nothing of its country: it is looked up in the numbering plans of the regions that detection
knows (infra/identifiers/numbering.py), first in those that part such a number as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.identifiers.numbering import Plan

MIN_DIGITS = 7

EXTENSION = re.compile(
    r"(?:;ext=|,?+[ \u00a0]{0,2}+(?=[adeiprtxд#])"
    r"(?:extension|extn?\.?|xt?\.?|\#|int\.?|poste|anexo|ramal|доб\.?|durchwahl|toestel)"
    r"[ \u00a0]?[:.]?[ \u00a0]?)([0-9]{1,6})(?![^\W_]|[.\-][^\W_])",
    re.IGNORECASE,
)
"""An extension after a number, with its digits; it begins right after the last digit."""
_MAY_EXTEND = re.compile(r"[^\W\d_]|#")
_TRUNK_IN_BRACKETS = re.compile(r"\(0\)")
_CODE_BEFORE = re.compile(
    r"(?:(?:\+|(?<![0-9.,:])00) ?([1-9][0-9]{0,2})[ .\-]{0,2}(?:\(0\) ?)?\(?"  # +44 or 0044
    r"|(?<![0-9a-z.\-])([0-9]{1,3})[.\-])$"  # 44-
)
_CODE_LENGTH = 12
"""Characters in front of a number in which its country code is sought."""
_GROUP = re.compile(r"[0-9]+")
_INTERNATIONAL = re.compile(r"[^0-9]{0,2}(?:\+|00)")


def parted(value: str) -> tuple[str, str]:
    """A folded number and the digits of its extension; empty where it has none."""
    for hit in EXTENSION.finditer(value) if _MAY_EXTEND.search(value) else ():
        if hit.end() == len(value.rstrip()) and sum(map(str.isdecimal, value[: hit.start()])) >= MIN_DIGITS:
            return value[: hit.start()], hit[1]
    return value, ""


@lru_cache(maxsize=1 << 12)  # asked again wherever the number stands
def forms(value: str) -> tuple[str, ...]:
    """The digits of a folded number in every writing: as given, with and without country code and trunk prefix.

    Without a trunk prefix 0 a number reads as one of another country, so that writing is left out, except of a country
    where it often is, if that country is certain.
    """
    return tuple(_forms(parted(value)[0]))


def _forms(number: str) -> Iterator[str]:
    yield _digits(number)
    certain = _INTERNATIONAL.match(number) is not None
    for code, national, prefix, optional in _readings(number):
        yield from (code + national, f"00{code}{national}")
        if prefix == "0":
            yield from (f"{code}0{national}", f"0{national}")
        if prefix != "0" or (optional and certain):
            yield national


def e164(value: str) -> str:
    """The folded number as + and digits, without its extension; empty where its country is not certain."""
    found = {f"+{code}{national}" for code, national, *_ in _readings(parted(value)[0])}
    return found.pop() if len(found) == 1 else ""


def country_code(text: str, end: int) -> tuple[str, bool]:
    """The digits of a country code that stands right before `end` in a folded text; empty where there is none.

    It stands after `+` or `00`, or is only tied to what follows by a hyphen or a full stop, which is told: then it may
    be an area code as well.
    """
    found = _CODE_BEFORE.search(text, max(0, end - _CODE_LENGTH), end)
    return (found[1] or found[2], found[1] is None) if found else ("", False)


def is_possible(value: str) -> bool:
    """Whether the folded value may be a phone number of some plan."""
    from infra.identifiers.numbering import plans_for

    number = parted(value)[0]
    digits = _digits(number)
    if _INTERNATIONAL.match(number):
        return _parsed(number) is not None
    return len(digits) >= MIN_DIGITS and bool(plans_for(digits[:2], len(digits)))


def _digits(value: str) -> str:
    return "".join(_GROUP.findall(value))


def _readings(number: str) -> Iterator[tuple[str, str, str, bool]]:
    """Country code, national number, its trunk prefix and if that is optional: for each plan the number may be of."""
    import phonenumbers

    if _INTERNATIONAL.match(number):
        parsed = _parsed(number)
        if parsed is not None:
            short = phonenumbers.national_significant_number(parsed)
            yield str(parsed.country_code), short, *_prefix(parsed.country_code)
        return
    for of in _plans(number):
        national = of.national(_digits(number))
        code = phonenumbers.country_code_for_region(of.region)
        yield str(code), national, *_prefix(code)


def _parsed(number: str) -> Any:
    """The number after + or 00, None where it is no possible one."""
    import phonenumbers

    digits = _digits(_TRUNK_IN_BRACKETS.sub("", number))
    try:
        parsed = phonenumbers.parse("+" + (digits if "+" in number[:3] else digits.removeprefix("00")))
    except phonenumbers.NumberParseException:
        return None
    return parsed if phonenumbers.is_possible_number(parsed) else None


def _prefix(code: int) -> tuple[str, bool]:
    """What is dialled in the country before a national number, and whether it is often left out."""
    import phonenumbers

    from infra.identifiers.numbering import OPTIONAL_TRUNK, plan

    region = phonenumbers.region_code_for_country_code(code)
    known = region in phonenumbers.SUPPORTED_REGIONS
    return plan(region).prefix if known else "", region in OPTIONAL_TRUNK


def _plans(number: str) -> list[Plan]:
    from infra.identifiers.numbering import plan, plans_as_written, plans_for

    digits = _digits(number)
    if len(digits) < MIN_DIGITS:
        return []
    groups = tuple(map(len, _GROUP.findall(number)))
    found = plans_as_written(digits, groups)
    found = found or [of for of in plans_for(digits[:2], len(digits)) if of.is_valid(of.national(digits))]
    return found or [plan("US")] if len(plan("US").national(digits)) == 10 else found
