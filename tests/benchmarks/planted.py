"""Invented people without number, and a corpus in which some of their identifiers are planted at known places.

Nothing here can be anybody's: hosts are reserved (RFC 2606), social security and card numbers begin with 9 and are
never issued, phone numbers have the area code 555, which does not exist, IBANs a country code that is nobody's (XA),
IP addresses are private (RFC 1918), and names are put together from syllables.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from revs.development.ordinary_text import paragraphs

PEOPLE = 7_000_000
SHARE_OF_ROWS = 0.1
# of a hundred identifiers so many are of this type
SHARES = (
    ("EMAIL_ADDRESS", 25),
    ("PERSON", 25),
    ("PHONE_NUMBER", 15),
    ("US_SSN", 15),
    ("URL", 8),
    ("CREDIT_CARD", 4),
    ("IBAN_CODE", 3),
    ("CUSTOM", 3),
    ("IP_ADDRESS", 2),
)
TYPES = tuple(type_ for type_, share in SHARES for _ in range(share))
LABELS = {
    "EMAIL_ADDRESS": "e-mail",
    "PERSON": "name",
    "PHONE_NUMBER": "phone",
    "US_SSN": "SSN",
    "URL": "page",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "account",
    "CUSTOM": "file",
    "IP_ADDRESS": "from",
}
_STRIDE = 4_999_999
"""A prime: multiples of it go once through a range before they come back, so neighbours have nothing in common."""
_SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te", "vi", "wo", "ya", "zel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The face of a request's identifier that the search uses."""

    type: str
    value: str = field(repr=False)
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A row of the corpus, and what stands in it: the number of the person, start and end."""

    text: str = field(repr=False)
    places: tuple[tuple[int, int, int], ...]


def wanted(number: int, *, place: int = 0) -> Wanted:
    """The identifier of person `number`, below `PEOPLE`, at a place in a request; no two people have the same one."""
    type_ = TYPES[number % len(TYPES)]
    return Wanted(type=type_, value=_VALUES[type_](number), number=place)


def corpus(characters: int, *, sought: Sequence[int], seed: int) -> Iterator[Planted]:
    """Rows of ordinary English, together of about `characters`; in one of ten somebody's identifiers stand.

    Args:
        characters: about how long all texts are together.
        sought: in each such row stands one of the people below each of these numbers, and one above all of them.
        seed: what all is drawn from.
    """
    rng = random.Random(seed)
    ordinary = paragraphs(limit=min(6_000, 100 + characters // 5_000))
    made = 0
    while made < characters:
        prose = [_typeset(rng, rng.choice(ordinary)) for _ in range(rng.randint(1, 6))]
        drawn = [rng.randrange(below) for below in sought] + [rng.randrange(max(sought), PEOPLE)]
        row = _row(rng, prose, drawn if rng.random() < SHARE_OF_ROWS else [])
        made += len(row.text)
        yield row


def _row(rng: random.Random, prose: list[str], people: list[int]) -> Planted:
    gap = rng.choice((" ", "\n", "\n\n", "\r\n\r\n"))
    cut = rng.randint(0, len(prose))
    text = gap.join([*prose[:cut], ""])
    places = []
    for number in people:
        person = wanted(number)
        text += f"{rng.choice(('', 'the ', 'my '))}{LABELS[person.type]}{rng.choice((': ', ' is ', ' = ', ' ('))}"
        written = disguised(rng, person)
        places.append((number, len(text), len(text) + len(written)))
        text += written + rng.choice((", ", "; ", " and ", "), "))
    return Planted(text=text + gap.join(["", *prose[cut:]]), places=tuple(places))


def disguised(rng: random.Random, person: Wanted) -> str:
    """The identifier as somebody may write it, in seven of ten cases as it is."""
    if rng.random() < 0.7:
        return person.value
    return str(rng.choice(_DISGUISES[person.type])(person.value))


def _typeset(rng: random.Random, paragraph: str) -> str:
    """Some paragraphs with typographic quotes and dashes, some as markup."""
    drawn = rng.random()
    if drawn < 0.05:
        return paragraph.replace("'", "’").replace(" - ", " — ").replace("naive", "naïve") + " “…”"
    if drawn < 0.1:
        return f"<p>{paragraph.replace(' and ', ' &amp; ')}</p>"
    return paragraph


def _name(number: int) -> tuple[str, str]:
    mixed = number * _STRIDE % (16**6)
    digits = [mixed >> shift & 15 for shift in range(0, 24, 4)]
    first, last = (("".join(_SYLLABLES[digit] for digit in part)) for part in (digits[:3], digits[3:]))
    return first, last


def _digits(number: int, count: int) -> str:
    return f"{number * _STRIDE % 10**count:0{count}d}"


def _person(number: int) -> str:
    return " ".join(part.capitalize() for part in _name(number))


def _address(number: int) -> str:
    return f"{'.'.join(_name(number))}@example.{('com', 'org', 'net')[number % 3]}"


def _phone(number: int) -> str:
    digits = _digits(number, 7)
    return f"+1 555-{digits[:3]}-{digits[3:]}"


def _security(number: int) -> str:
    digits = _digits(number, 8)
    return f"9{digits[:2]}-{digits[2:4]}-{digits[4:]}"


def _page(number: int) -> str:
    return f"https://example.com/people/{'-'.join(_name(number))}"


def _card(number: int) -> str:
    digits = "9" + _digits(number, 15)
    return " ".join(digits[start : start + 4] for start in range(0, 16, 4))


def _account(number: int) -> str:
    return f"XA{_digits(number, 20)}"


def _file(number: int) -> str:
    return f"C-{_digits(number, 7)}"


def _ip(number: int) -> str:
    return ".".join(map(str, (10, number >> 16 & 255, number >> 8 & 255, number & 255)))


def _spread(value: str) -> str:
    return " ".join(value[start : start + 4] for start in range(0, len(value), 4))


def _instead(old: str, new: str) -> Callable[[str], str]:
    return lambda value: value.replace(old, new, 1)


_VALUES: dict[str, Callable[[int], str]] = {
    "EMAIL_ADDRESS": _address,
    "PERSON": _person,
    "PHONE_NUMBER": _phone,
    "US_SSN": _security,
    "URL": _page,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _account,
    "CUSTOM": _file,
    "IP_ADDRESS": _ip,
}
_DISGUISES: dict[str, tuple[Callable[[str], str], ...]] = {
    "EMAIL_ADDRESS": (
        str.upper,
        _instead("@", "=40"),
        _instead("@", "&#64;"),
        _instead("@", "&commat;"),
        _instead("@", "%40"),
        _instead("@", "＠"),
        _instead("@", "@\n"),
        _instead("e", "=\r\ne"),
        _instead("@", "\u200b@"),
    ),
    "PERSON": (str.upper, _instead(" ", "\n"), _instead(" ", "&nbsp;"), _instead(" ", "\u00a0"), _instead(" ", "=20")),
    "PHONE_NUMBER": (
        lambda value: f"({value[3:6]}) {value[7:]}",
        lambda value: value[3:].replace("-", "."),
        lambda value: value.replace("-", " "),
        lambda value: value.replace("-", "‑"),
        _instead("-", "-\n"),
    ),
    "US_SSN": (
        lambda value: value.replace("-", ""),
        lambda value: value.replace("-", " "),
        lambda value: value.replace("-", "–"),
        _instead("-", "-\u00ad"),
        _instead("-", "=\n-"),
        _instead("-", "&#45;"),
    ),
    "URL": (lambda value: value[8:], str.upper, _instead("people/", "people/\n"), _instead("-", "%2D")),
    "CREDIT_CARD": (lambda value: value.replace(" ", ""), lambda value: value.replace(" ", "-")),
    "IBAN_CODE": (_spread, str.lower),
    "CUSTOM": (_instead("-", "&#x2d;"), _instead("-", "\u200b-")),
    "IP_ADDRESS": (_instead(".", "=\r\n."), _instead(".", "&period;")),
}
