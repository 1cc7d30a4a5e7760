"""Whether a value has the form of its type: asked where a request comes in, and once more before a batch is searched.

A value that has not would be sought as something else: `4.15556E+09` as the eight digits of another person's number.
No message shows a value; each says what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from infra.identifiers import phones
from infra.identifiers.hosts import spellings
from infra.identifiers.ip import address_of
from infra.identifiers.normalise import fold
from infra.identifiers.readings import may_be_disguised, undisguised

_GIVE_DIGITS = "looks like a spreadsheet's notation; give the digits as they were before"
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


def fault(type_: str, value: str) -> str:
    """What keeps the value from being one of its type, with the remedy; empty where nothing does."""
    folded = fold(value).text.strip()
    check = _CHECKS.get(type_)
    if check is None:
        return ""
    found = check(folded)
    if found and may_be_disguised(value):  # as copied from a page or a log
        found = check(fold(undisguised(value)).text.strip()) and found
    return found


def _number(folded: str) -> str:
    if _SPREADSHEET.fullmatch(folded):
        return _GIVE_DIGITS
    if not _OF_NUMBER.fullmatch(folded):
        return "holds more than a number; give the number alone"
    return ""


def _digits(folded: str) -> str:
    return "".join(character for character in folded if character.isdecimal())


def _ssn(folded: str) -> str:
    wrong = _number(folded)
    count = len(_digits(folded))
    if not wrong and count == _SSN_DIGITS:
        return _one_digit(folded)
    if wrong:
        return wrong
    if count == _SSN_DIGITS - 1:
        return "has eight digits, as when a spreadsheet drops the zero in front; give all nine"
    return f"has {count} digits and not nine; give all of them"


def _card(folded: str) -> str:
    wrong = _number(folded)
    if wrong:
        return wrong
    digits = _digits(folded)
    if len(digits) not in _CARD_DIGITS:
        return f"has {len(digits)} digits, a card number has 12 to 19; give all of them"
    if _luhn(digits):
        return _one_digit(digits)
    return "has a wrong check digit: a digit is mistyped, or lost in a spreadsheet, which keeps 15; correct it"


def _one_digit(text: str) -> str:
    return "is one digit again and again, which is nobody's; give the number" if len(set(_digits(text))) == 1 else ""


def _luhn(digits: str) -> bool:
    doubled = (2 * int(digit) if place % 2 else int(digit) for place, digit in enumerate(reversed(digits)))
    return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0


def _phone(folded: str) -> str:
    if _SPREADSHEET.fullmatch(folded):
        return _GIVE_DIGITS
    number = phones.parted(folded)[0].strip()
    if not _OF_PHONE.fullmatch(number):
        return "holds more than a phone number; give the number alone"
    if _DATE.fullmatch(number):
        return "reads as a date; if it is a phone number, give it with + and the country code"
    if "+" not in number and len(_digits(number)) < _LEAST_WITHOUT_CODE:
        return (
            "has too few digits to be one person's number; give it with its area code, best with + and the country code"
        )
    if not phones.is_possible(number):
        return "is no phone number of any numbering plan; give all its digits, best with + and the country code"
    return ""


def _iban(folded: str) -> str:
    letters = "".join(character for character in folded if character.isalnum()).upper()
    if _SPREADSHEET.fullmatch(folded) or not letters.isascii() or re.sub(r"[\s\-.]", "", folded) != letters.lower():
        return "is not written as an IBAN; give its letters and digits alone"
    length = IBAN_LENGTHS.get(letters[:2])
    if length is None:
        return "begins with no country that has IBANs; give all of it"
    if len(letters) != length:
        return f"has {len(letters)} characters, in its country it has {length}; give all of them"
    rearranged = letters[4:] + letters[:4]
    if int("".join(str(int(character, 36)) for character in rearranged)) % 97 != 1:
        return "has wrong check digits, so a character is mistyped; correct it"
    return ""


def _email(folded: str) -> str:
    if any(_EMAIL.fullmatch(way) for way in spellings("EMAIL_ADDRESS", folded)):
        return ""
    return "is not written as an e-mail address; give it as name@host, without anything around it"


def _url(folded: str) -> str:
    if any(_URL.fullmatch(way) for way in spellings("URL", folded)):
        return ""
    return "is not written as a URL; give it as https://host/path, without anything around it"


def _ip(folded: str) -> str:
    found = address_of(folded)
    if found is None:
        return "is no IP address; give it as 192.0.2.1 or 2001:db8::1"
    return "is nobody's address; give another" if found.is_unspecified or found.is_loopback else ""


def _text(folded: str) -> str:
    return _GIVE_DIGITS if _ROUNDED.fullmatch(folded) else ""


_CHECKS: dict[str, Callable[[str], str]] = {
    "EMAIL_ADDRESS": _email,
    "US_SSN": _ssn,
    "PHONE_NUMBER": _phone,
    "URL": _url,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "IP_ADDRESS": _ip,
    "PERSON": _text,
}
