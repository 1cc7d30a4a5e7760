"""Personal data made presentable: enough to see what kind of thing it is, too little to know whose.

Every mask has the same length whatever stood there. Of a value at most its first letter, its last two digits, and the
ending of an address of three letters or fewer remain.
"""

from __future__ import annotations

from collections.abc import Callable

from infra.identifiers import hosts, phones
from infra.identifiers.normalise import fold
from infra.identifiers.readings import may_be_disguised, undisguised

HIDDEN = "•••"
_FEWEST = 3
"""Of a part with fewer characters nothing is shown: the first letter would be half of it."""
_FEWEST_DIGITS = 7
_LONGEST_ENDING = 3


def masked(type_: str, value: str) -> str:
    """The value as a report may show it: `a•••@e•••.com`, `•••21`, `J•••`.

    No four characters that stand together in the value stand together in the mask, but for `.com` and the like.
    """
    shown = _MASKS.get(type_, _first)(_readable(type_, value))
    return shown if "•" not in value else HIDDEN


def _readable(type_: str, value: str) -> str:
    """The value without its disguise, so that two spellings of one have the same mask."""
    if type_ not in _MASKS or type_ == "CUSTOM":
        return value
    text = fold(undisguised(value) if may_be_disguised(value) else value, casefold=False).text
    if type_ in {"EMAIL_ADDRESS", "URL"}:
        return hosts.in_letters(text) if "xn--" in text.lower() else text
    return phones.parted(text)[0] if type_ == "PHONE_NUMBER" else text


def _first(part: str) -> str:
    return f"{part[0]}{HIDDEN}" if len(part) >= _FEWEST and part[0].isalpha() else HIDDEN


def _host(host: str) -> str:
    name, dot, ending = host.rpartition(".")
    if not dot or not ending.isalpha() or len(ending) > _LONGEST_ENDING:
        return HIDDEN
    return f"{_first(name)}.{ending}"


def _email(value: str) -> str:
    local, _, host = value.rpartition("@")
    return f"{_first(local)}@{_host(host)}"


def _url(value: str) -> str:
    rest = value.partition("://")[2] or value
    host, slash, _ = rest.partition("/")
    host = host.rpartition("@")[2].partition("?")[0].partition("#")[0].partition(":")[0]
    return f"{_host(host)}{slash}{HIDDEN if slash else ''}"


def _number(value: str) -> str:
    digits = "".join(character for character in value if character.isdecimal())
    return f"{HIDDEN}{digits[-2:]}" if len(digits) >= _FEWEST_DIGITS else HIDDEN


def _nothing(_value: str) -> str:
    return HIDDEN


_MASKS: dict[str, Callable[[str], str]] = {
    "EMAIL_ADDRESS": _email,
    "URL": _url,
    "US_SSN": _number,
    "PHONE_NUMBER": _number,
    "CREDIT_CARD": _number,
    "IBAN_CODE": _number,
    "IP_ADDRESS": _nothing,
    "CUSTOM": _nothing,
}
