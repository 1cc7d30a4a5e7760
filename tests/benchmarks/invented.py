"""Invented personal data in the writings in which it occurs, and what only resembles it.

Nothing here can be anybody's: hosts are reserved (RFC 2606), IP addresses are documentation or private ranges (RFC
5737, 3849, 1918, 4193), social security numbers begin with 9 and are never issued, card numbers are the ones that
payment providers publish for tests, phone numbers lie in the ranges that regulators keep for fiction, IBANs are
random with a right checksum.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from faker import Faker

HOSTS = ("example.com", "example.org", "example.net")
RESERVED = ("corp.test", "mail.example", "intra.test")
CARDS = (
    "4111111111111111",
    "4242424242424242",
    "4012888888881881",
    "4000056655665556",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "3530111333300000",
    "3566002020360505",
    "30569309025904",
    "38520000023237",
    "4222222222222",
)
IBAN_FORMS = {
    "DE": "d18",
    "AT": "d16",
    "ES": "d20",
    "BE": "d12",
    "DK": "d14",
    "FI": "d14",
    "NO": "d11",
    "PL": "d24",
    "PT": "d21",
    "SE": "d20",
    "CH": "d17",
    "NL": "a4d10",
    "GB": "a4d14",
    "FR": "d23",
    "IT": "a1d22",
}
# Country code, the digits before the free ones, how many are free, and national writings (N: one digit).
PHONES = (
    (
        "1",
        "{area}55501",
        2,
        ("(NNN) NNN-NNNN", "NNN-NNN-NNNN", "NNN.NNN.NNNN", "NNN NNN NNNN", "1-NNN-NNN-NNNN", "NNNNNNNNNN"),
    ),
    ("44", "2079460", 3, ("020 NNNN NNNN", "(020) NNNN NNNN", "020NNNNNNNN")),
    ("44", "7700900", 3, ("07NNN NNNNNN", "07NNN NNN NNN", "07NNNNNNNNN")),
    ("33", "19900", 4, ("0N NN NN NN NN", "0N.NN.NN.NN.NN", "0NNNNNNNNN")),
    ("33", "63998", 4, ("0N NN NN NN NN", "0N.NN.NN.NN.NN")),
    ("49", "3023125", 3, ("030 NNNNNNNN", "030/NNNNNNNN", "(030) NNNNNNNN", "030 NNNNN NNN")),
    ("49", "17139200", 2, ("0171 NNNNNNN", "0171/NNNNNNN", "0171-NNNNNNN")),
    ("61", "25550", 4, ("(02) NNNN NNNN", "02 NNNN NNNN")),
    ("61", "491570", 3, ("0491 NNN NNN", "0491NNNNNN")),
    ("46", "31390", 4, ("031-NNN NN NN", "031 NNN NN NN")),
    ("46", "7017406", 2, ("070-NNN NN NN", "070 NNN NN NN")),
)
AREAS = ("202", "212", "312", "404", "415", "503", "617", "713")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A document and its personal data: start, end, type."""

    text: str = field(repr=False)
    style: str
    locale: str
    spans: tuple[tuple[int, int, str], ...]


class Page:
    """A document in the making: text is said, personal data is put."""

    def __init__(self, rng: random.Random, fake: Faker, locale: str) -> None:
        self.rng, self.fake, self.locale = rng, fake, locale
        self._parts: list[str] = []
        self._length = 0
        self.spans: list[tuple[int, int, str]] = []

    def say(self, text: str) -> Page:
        self._parts.append(text)
        self._length += len(text)
        return self

    def put(self, type_: str) -> Page:
        value = VALUES[type_](self)
        self.spans.append((self._length, self._length + len(value), type_))
        return self.say(value)

    def labelled(self, style: str) -> Labelled:
        return Labelled(text="".join(self._parts), style=style, locale=self.locale, spans=tuple(self.spans))

    def of(self, *choices: str) -> str:
        return self.rng.choice(choices)

    def digits(self, count: int) -> str:
        return "".join(self.rng.choices(string.digits, k=count))

    def sentence(self) -> str:
        return self.fake.sentence(nb_words=self.rng.randint(4, 12))


def filled(form: str, digits: str) -> str:
    """The form with its N replaced; where the form has fewer N than there are digits, by the last ones."""
    waiting = iter(digits[len(digits) - form.count("N") :])
    return "".join(next(waiting) if character == "N" else character for character in form)


def host(page: Page) -> str:
    base = page.of(*HOSTS) if page.rng.random() < 0.93 else page.of(*RESERVED)
    return base if page.rng.random() < 0.6 else f"{page.of('mail', 'shop', 'eu-1', 'static', 'people')}.{base}"


def address(page: Page) -> str:
    first, last = ascii_names(page)
    local = page.of(
        f"{first}.{last}",
        f"{first[0]}{last}",
        f"{first}_{last}{page.digits(2)}",
        f"{first}-{last}",
        f"{first}+{last}",
        first,
    )
    whole = f"{local}@{host(page)}"
    return page.of(whole, whole, whole, whole.title() if "+" not in whole else whole, whole.upper())


def ascii_names(page: Page) -> tuple[str, str]:
    user = "".join(character for character in page.fake.user_name() if character.isascii() and character.isalpha())
    return (user[:5] or "kim").lower(), (user[5:] or "roe").lower()


def link(page: Page) -> str:
    path = page.of(
        "",
        "/",
        "/jobs",
        f"/u/{page.digits(5)}",
        "/a/b-c/d_e.html",
        f"/?q={page.of('red', 'blue')}&page=2",
        "/wiki/Ohm_(unit)",
    )
    query = page.of("", "", f"/item?id={page.digits(6)}#top", f":8443/x/{page.digits(3)}")
    tail = query or path
    at = host(page)
    if not at.endswith(HOSTS):
        return f"https://{at}{tail}"
    return page.of(
        f"https://{at}{tail}",
        f"https://{at}{tail}",
        f"http://{at}{tail}",
        f"www.{page.of(*HOSTS)}{tail}",
        f"{at}/{page.of('jobs', 'team/kim', 'x1')}",
        at,
    )


def social_security(page: Page) -> str:
    area, group, serial = f"9{page.digits(2)}", f"{page.rng.randint(1, 99):02}", f"{page.rng.randint(1, 9999):04}"
    return page.of("-", "-", "-", "-", " ", ".").join((area, group, serial))


def bare_social_security(page: Page) -> str:
    return f"9{page.digits(2)}{page.rng.randint(1, 99):02}{page.rng.randint(1, 9999):04}"


def phone(page: Page) -> str:
    code, fixed, free, forms = page.rng.choice(PHONES)
    national = fixed.format(area=page.of(*AREAS)) + page.digits(free)
    form = page.of(*(form for form in forms if not form.isalnum()))
    if page.rng.random() < 0.45:
        return international(page, code, national, form)
    return filled(form, national)


def international(page: Page, code: str, national: str, form: str) -> str:
    bare = "NNN NNN NNNN" if code == "1" else form.lstrip("(0").replace(")", "").replace("/", " ")
    grouped = filled(bare, national)
    return page.of(
        f"+{code} {grouped}",
        f"+{code}-{grouped.replace(' ', '-').replace('.', '-')}",
        f"+{code}{national}",
        f"00{code} {grouped}",
    )


def bare_phone(page: Page) -> str:
    _, fixed, free, forms = page.rng.choice([plan for plan in PHONES if plan[3][-1].isalnum()])
    return filled(forms[-1], fixed.format(area=page.of(*AREAS)) + page.digits(free))


def card(page: Page) -> str:
    number = page.of(*CARDS)
    gap = page.of(" ", " ", "-", "")
    cuts = (4, 10) if len(number) in (14, 15) else (4, 8, 12) if len(number) == 16 else ()
    edges = (0, *cuts, len(number))
    return gap.join(number[start:end] for start, end in pairwise(edges))


def iban(page: Page) -> str:
    country = page.of(*IBAN_FORMS)
    body, form = "", IBAN_FORMS[country]
    for part in form.replace("d", " d").replace("a", " a").split():
        count = int(part[1:])
        body += page.digits(count) if part[0] == "d" else "".join(page.rng.choices(string.ascii_uppercase, k=count))
    numeric = "".join(str(int(character, 36)) for character in f"{body}{country}00")
    whole = f"{country}{98 - int(numeric) % 97:02}{body}"
    groups = [whole[start : start + 4] for start in range(0, len(whole), 4)]
    return page.of(whole, " ".join(groups), " ".join(groups), whole.lower(), "-".join(groups))


def ip_address(page: Page) -> str:
    def octet() -> str:
        return str(page.rng.randint(1, 254))

    def group() -> str:
        return f"{page.rng.randint(1, 0xFFFF):x}"

    return page.of(
        *(f"{net}.{octet()}" for net in ("192.0.2", "198.51.100", "203.0.113", f"192.168.{octet()}")),
        f"10.{octet()}.{octet()}.{octet()}",
        f"172.{page.rng.randint(16, 31)}.{octet()}.{octet()}",
        f"2001:db8::{group()}",
        f"2001:db8:{group()}::{group()}:{group()}",
        "2001:db8:" + ":".join(group() for _ in range(6)),
        f"fd12:{group()}::{page.rng.randint(1, 9)}",
    )


VALUES: dict[str, Callable[[Page], str]] = {
    "EMAIL_ADDRESS": address,
    "US_SSN": social_security,
    "PHONE_NUMBER": phone,
    "URL": link,
    "CREDIT_CARD": card,
    "IBAN_CODE": iban,
    "IP_ADDRESS": ip_address,
}
BARE: dict[str, Callable[[Page], str]] = {"US_SSN": bare_social_security, "PHONE_NUMBER": bare_phone}


def lookalike(page: Page) -> str:
    """Something that resembles personal data and is none."""
    d, of = page.digits, page.of
    hexed = "".join(page.rng.choices("0123456789abcdef", k=40))
    one = page.rng.randint
    return page.of(
        f"version {one(1, 9)}.{one(0, 30)}.{one(0, 9)}",
        f"v{one(1, 9)}.{one(0, 30)}.{one(0, 9)}.{one(0, 9)}",
        f"firmware {one(1, 9)}.{one(0, 30)}.{one(0, 9)}.{one(0, 9)}",
        f"Mozilla/5.0 Chrome/{one(90, 130)}.0.{one(0, 255)}.{one(0, 200)}",
        f"driver-{one(1, 9)}.{one(0, 30)}.{one(0, 9)}.{one(0, 9)}-rc1",
        f"1.3.6.1.4.1.{one(100, 999)}.{one(1, 9)}",
        f"ISBN 978-{one(0, 9)}-{d(3)}-{d(5)}-{one(0, 9)}",
        f"ISBN 0-{d(3)}-{d(5)}-{one(0, 9)}",
        f"ISSN {d(4)}-{d(4)}",
        f"order {d(9)}",
        f"order no. {d(10)}",
        f"docket {d(8)}",
        f"invoice #{d(9)}",
        f"consignment {d(4)} {d(4)} {d(4)}",
        f"asset tag {d(9)}",
        f"commit {hexed}",
        f"md5 {hexed[:32]}",
        f"{hexed[:8]}-{hexed[8:12]}-4{hexed[13:16]}-a{hexed[17:20]}-{hexed[20:32]}",
        f"20{d(1)}{d(1)}-0{one(1, 9)}-1{d(1)}",
        f"0{one(1, 9)}/1{d(1)}/20{one(10, 29)}",
        f"1{d(1)}.0{one(1, 9)}.20{one(10, 29)}",
        f"20{one(10, 29)}-0{one(1, 9)}-1{d(1)}T1{d(1)}:2{d(1)}:3{d(1)}.{d(6)}Z",
        f"16{d(8)}",
        f"20{one(10, 29)}0{one(1, 9)}1{d(1)}_1{d(1)}2{d(1)}3{d(1)}",
        f"part {d(3)}-{d(2)}-{d(4)}-{one(1, 9)}",
        f"AB-{d(3)}-{d(2)}-{d(4)}",
        f"SN {d(3)}{d(3)}{d(3)}{of('X', 'K')}",
        f"{d(5)}-{d(4)}",
        f"{one(1, 9)}.{d(10)}",
        f"-{d(3)}.{d(9)}",
        f"{one(1, 89)}.{d(6)}, {one(1, 89)}.{d(6)}",
        f"${one(1, 9)},{d(3)},{d(3)}.{d(2)}",
        f"{d(1)}e+{d(2)}",
        f"4000 0000 0000 000{one(3, 9)}",
        f"tracking 1Z{d(3)}AA{d(10)}",
        f"{d(3)}-{d(3)}",
        f"{one(1, 12)}:{d(2)}:{d(2)}",
        "00:1b:44:11:3a:b7",
        of("setup.py", "README.md", "archive.tar.gz", "main.rs", "notes.txt", "run.sh"),
        of("std::vector", "Vec::new", "cafe::add", "a::b"),
        of("np.array(x)", "self.name", "os.path.join", "e.g.", "i.e."),
        f"left-pad@{one(1, 9)}.{one(0, 9)}.0",
        f"@{page.fake.word()}",
        "10:20:30",
        f"{d(6)}..{d(6)}",
        f"section {one(1, 9)}.{one(1, 9)}.{one(1, 9)}.{one(1, 9)}",
        f"rows {d(7)}-{d(7)}",
        f"build {d(5)}.{d(4)}",
        f"{one(100, 999)} x {one(100, 999)}",
    )
