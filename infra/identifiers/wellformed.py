"""Whether a value has the form of its type: asked where a request comes in, and once more before a batch is searched.

A value that has not would be sought as something else: `4.15556E+09` as the eight digits of another person's number.
No message shows a value; each says what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from infra.identifiers import phones
from infra.identifiers.hosts import spellings
from infra.identifiers.ip import address_of
from infra.identifiers.normalise import fold
from infra.identifiers.readings import may_be_disguised, undisguised

FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "spreadsheet": "looks like a spreadsheet's notation; give the digits as they were before",
        "more_than_a_number": "holds more than a number; give the number alone",
        "zero_dropped": "has eight digits, as when a spreadsheet drops the zero in front; give all nine",
        "check_digit": "has a wrong check digit: a digit is mistyped, or lost in a spreadsheet, which keeps 15; "
        "correct it",
        "more_than_a_phone_number": "holds more than a phone number; give the number alone",
        "date": "reads as a date; if it is a phone number, give it with + and the country code",
        "no_phone_number": "is no phone number of any numbering plan; give all its digits, best with + and the "
        "country code",
        "no_iban": "is not written as an IBAN; give its letters and digits alone",
        "iban_country": "begins with no country that has IBANs; give all of it",
        "check_digits": "has wrong check digits, so a character is mistyped; correct it",
        "no_email": "is not written as an e-mail address; give it as name@host, without anything around it",
        "no_url": "is not written as a URL; give it as https://host/path, without anything around it",
        "no_ip": "is no IP address; give it as 192.0.2.1 or 2001:db8::1",
        "ssn_digits": "has {count} digits and not nine; give all of them",
        "card_digits": "has {count} digits, a card number has 12 to 19; give all of them",
        "iban_length": "has {count} characters, in its country it has {wanted}; give all of them",
        "local_number": "has too few digits to be one person's number; give it with its area code, best with + and "
        "the country code",
        "one_digit": "is one digit again and again, which is nobody's; give the number",
        "nobodys_address": "is nobody's address; give another",
    }
)
"""What is wrong with a value, and the remedy, by code; never a value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A code of `FAULTS`, and the numbers that its words name."""

    code: str
    parameters: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return FAULTS[self.code].format(**self.parameters)


_SPREADSHEET = re.compile(r"[+\-]?\d+(?:[.,]\d+)?e[+\-]?\d+|['\"=].*|#[a-z/0]+[!?]?|\+?\d{6,}[.,]0{1,2}", re.DOTALL)
"""Rounded to a power of ten, marked as text, an error's name, or with a fraction of nothing; folded."""
_ROUNDED = re.compile(r"[+\-]?\d+(?:[.,]\d+)?e[+\-]?\d+|#(?:ref!|n/a|name\?|value!|div/0!|num!|null!)")
"""What no name is either; folded."""
_OF_NUMBER = re.compile(r"[0-9(][0-9 \-./()·\u2013-\u2015]*")
_DATE = re.compile(r"\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4}")
_LEAST_WITHOUT_CODE = 8  # digits of a phone number: fewer are a local number, which somebody has in every area
_OF_PHONE = re.compile(r"(?:tel:)?[+(]{0,3}[0-9 \-./()·\u2013-\u2015]+")
_HOST = r"(?:[^\W_](?:[\w\-]{0,61}[^\W_])?\.)+[^\W\d_][\w\-]*[^\W_]"
_EMAIL = re.compile(rf"(?!['*=])[^\s@:;,<>()\[\]\\\"]+@{_HOST}")
_AUTHORITY = rf"(?:[^\s/?#@]*@)?(?:{_HOST}|localhost|[0-9.]+|\[[0-9a-f:.]+\])(?::\d+)?"
_URL = re.compile(rf"(?:[a-z][a-z0-9+.\-]*://{_AUTHORITY}|{_HOST}(?::\d+)?)(?:[/?#]\S*)?")
_LENGTHS = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 "
    "FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 "
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 "
    "RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _LENGTHS.split()}
"""How many characters an IBAN has, by country."""
_SSN_DIGITS = 9
_CARD_DIGITS = range(12, 20)


def fault(type_: str, value: str) -> Fault | None:
    """Return what keeps the value from being one of its type; None where nothing does."""
    folded = fold(value).text.strip()
    check = _CHECKS.get(type_)
    if check is None:
        return None
    found = check(folded)
    if found and may_be_disguised(value):  # as copied from a page or a log
        found = found if check(fold(undisguised(value)).text.strip()) else None
    return found


def _number(folded: str) -> Fault | None:
    if _SPREADSHEET.fullmatch(folded):
        return Fault("spreadsheet")
    if not _OF_NUMBER.fullmatch(folded):
        return Fault("more_than_a_number")
    return None


def _digits(folded: str) -> str:
    return "".join(character for character in folded if character.isdecimal())


def _ssn(folded: str) -> Fault | None:
    wrong = _number(folded)
    count = len(_digits(folded))
    if wrong is None and count == _SSN_DIGITS:
        return _one_digit(folded)
    if wrong:
        return wrong
    if count == _SSN_DIGITS - 1:
        return Fault("zero_dropped")
    return Fault("ssn_digits", {"count": count})


def _card(folded: str) -> Fault | None:
    wrong = _number(folded)
    if wrong:
        return wrong
    digits = _digits(folded)
    if len(digits) not in _CARD_DIGITS:
        return Fault("card_digits", {"count": len(digits)})
    if _luhn(digits):
        return _one_digit(digits)
    return Fault("check_digit")


def _one_digit(text: str) -> Fault | None:
    return Fault("one_digit") if len(set(_digits(text))) == 1 else None


def _luhn(digits: str) -> bool:
    doubled = (2 * int(digit) if place % 2 else int(digit) for place, digit in enumerate(reversed(digits)))
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _phone(folded: str) -> Fault | None:
    if _SPREADSHEET.fullmatch(folded):
        return Fault("spreadsheet")
    number = phones.parted(folded)[0].strip()
    if not _OF_PHONE.fullmatch(number):
        return Fault("more_than_a_phone_number")
    if _DATE.fullmatch(number):
        return Fault("date")
    if "+" not in number and len(_digits(number)) < _LEAST_WITHOUT_CODE:
        return Fault("local_number")
    if not phones.is_possible(number):
        return Fault("no_phone_number")
    return None


def _iban(folded: str) -> Fault | None:
    letters = "".join(character for character in folded if character.isalnum()).upper()
    if _SPREADSHEET.fullmatch(folded) or not letters.isascii() or re.sub(r"[\s\-.]", "", folded) != letters.lower():
        return Fault("no_iban")
    length = IBAN_LENGTHS.get(letters[:2])
    if length is None:
        return Fault("iban_country")
    if len(letters) != length:
        return Fault("iban_length", {"count": len(letters), "wanted": length})
    rearranged = letters[4:] + letters[:4]
    if int("".join(str(int(character, 36)) for character in rearranged)) % 97 != 1:
        return Fault("check_digits")
    return None


def _email(folded: str) -> Fault | None:
    if any(_EMAIL.fullmatch(way) for way in spellings("EMAIL_ADDRESS", folded)):
        return None
    return Fault("no_email")


def _url(folded: str) -> Fault | None:
    if any(_URL.fullmatch(way) for way in spellings("URL", folded)):
        return None
    return Fault("no_url")


def _ip(folded: str) -> Fault | None:
    found = address_of(folded)
    if found is None:
        return Fault("no_ip")
    return Fault("nobodys_address") if found.is_unspecified or found.is_loopback else None


def _text(folded: str) -> Fault | None:
    return Fault("spreadsheet") if _ROUNDED.fullmatch(folded) else None


_CHECKS: dict[str, Callable[[str], Fault | None]] = {
    "EMAIL_ADDRESS": _email,
    "US_SSN": _ssn,
    "PHONE_NUMBER": _phone,
    "URL": _url,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "PERSON": _text,
}
