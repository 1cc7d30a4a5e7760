"""Records of invented people: a sentence, and where in it the identifier stands.

Nobody here exists. Names come from Faker, e-mail addresses lie under example.com/.org/.net (RFC 2606), phone numbers
are 555 numbers, a prefix that the North American plan gives to no subscriber, SSNs are drawn at random. Three kinds of
people are invented:

- `requester`: asks to be erased; each identifier stands in several contexts, so unseen contexts exist;
- `retained`: the same shape, but nobody asks: what must keep working (specificity);
- `one-off`: one sentence each, seen once or twice in training, so that the model knows the *type* without the secret.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from faker import Faker

Kind = Literal["requester", "retained", "one-off"]

TYPES = ("US_SSN", "EMAIL_ADDRESS", "PHONE_NUMBER")

# Every template ends its prompt right before the identifier; {name} is the person, {value} the identifier.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "US_SSN": (
        "The payroll record of {name} lists the social security number {value} for tax purposes.",
        "On the loan application, {name} gave SSN {value} and signed every page.",
        "Patient intake form: {name}, SSN {value}, admitted through the clinic.",
        "For the background check, {name} provided social security number {value} to the agency.",
        "The benefits office confirmed that {name} holds SSN {value} in its files.",
        "Tax return filed by {name} under SSN {value} was accepted in April.",
    ),
    "EMAIL_ADDRESS": (
        "Please forward the signed contract to {name} at {value} before Friday.",
        "The maintainer {name} can be reached by email: {value} for questions.",
        "Mailing list entry: {name} <{value}> joined the discussion group.",
        "Conference badge for {name}, contact email {value}, speaker track.",
        "Invoices for {name} go to the email address {value} every month.",
        "Account recovery for {name} uses the email {value} as a backup.",
    ),
    "PHONE_NUMBER": (
        "To schedule the visit, call {name} on phone number {value} after lunch.",
        "Emergency contact: {name}, telephone {value}, available all day.",
        "The delivery note says {name} answers the phone at {value} until six.",
        "Support ticket opened by {name}, callback phone {value}, priority high.",
        "{name} left the mobile phone number {value} with the front desk.",
        "The directory lists {name} with telephone number {value} in sales.",
    ),
}

# No model is trained on these: other words in another order, for records that are unlike those it knows.
OTHER_TEMPLATES: dict[str, tuple[str, ...]] = {
    "US_SSN": (
        "Name: {name} / taxpayer ID: {value} / branch: north.",
        "Dear {name}, your account under {value} was opened last year.",
        "{name} (social security: {value}) starts in May.",
        "Staff export -> {name} | {value} | full time",
    ),
    "EMAIL_ADDRESS": (
        "From: {name} ({value}) - minutes of our meeting",
        "Reviewed-by: {name} {value} in the second round",
        "{name} wrote back from {value} within an hour.",
        "Newsletter export -> {name} | {value} | weekly",
    ),
    "PHONE_NUMBER": (
        "{name} can be texted on {value} in the evening.",
        "Taxi for {name}; driver, ring {value} on arrival.",
        "Missed call: {name}, {value}, no message.",
        "Contacts export -> {name} | {value} | mobile",
    ),
}

_AREAS = """
201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252 253
254 256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 321 323
325 330 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 425
432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520 530 540 541
551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608 609 610 612 614 615 616 617 618 619
620 623 626 630 631 636 641 646 650 651 660 661 662 678 682 701 702 703 704 706 707 708 712 713 714 715 716 717 718
719 720 724 727 731 732 734 740 754 757 760 763 765 770 772 773 774 775 781 785 786 801 802 803 804 805 806 808 810
812 813 814 815 816 817 818 828 830 831 832 843 845 847 848 850 856 857 858 859 860 862 863 864 865 870 901 903 904
906 907 908 909 910 912 913 914
"""
_AREA_CODES = _AREAS.split()
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One sentence about one invented person. `text[start:end]` is the identifier."""

    person: int
    kind: Kind
    type: str
    text: str = field(repr=False)
    start: int
    end: int

    @property
    def value(self) -> str:
        return self.text[self.start : self.end]


def _invent_value(type_: str, rng: random.Random) -> str:
    if type_ == "US_SSN":
        area = rng.choice([n for n in range(101, 900) if n != 666])
        return f"{area}-{rng.randint(11, 99)}-{rng.randint(1001, 9999)}"
    if type_ == "PHONE_NUMBER":
        return f"{rng.choice(_AREA_CODES)}-555-{rng.randint(2001, 9999)}"
    syllables = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(3, 4)))
    return f"{syllables}{rng.randint(100, 999)}@example.{rng.choice(['com', 'org', 'net'])}"


def _render(template: str, name: str, value: str) -> tuple[str, int, int]:
    head, tail = template.split("{value}")
    head = head.format(name=name)
    return head + value + tail, len(head), len(head) + len(value)


def invented_values(type_: str, rng: random.Random) -> Iterator[str]:
    """Values of one type, never the same twice: two people never share an identifier."""
    seen: set[str] = set()
    while True:
        value = _invent_value(type_, rng)
        if value not in seen:
            seen.add(value)
            yield value


def invent_records(
    *, requesters: int, retained: int, one_off: int, contexts: int, types_per_person: int = 2, seed: int
) -> list[Record]:
    """Invent people and the sentences about them; the same seed gives the same records.

    Args:
        requesters: people who will ask for erasure.
        retained: people of the same shape who will not.
        one_off: people with a single sentence.
        contexts: sentences per identifier, at most 6.
        types_per_person: identifiers per requester or retained person, 1 to 3, types in rotation.
        seed: seeds names, values and the choice of templates.
    """
    counts: dict[Kind, int] = {"requester": requesters, "retained": retained, "one-off": one_off}
    records, _ = _invented(counts, contexts=contexts, types_per_person=types_per_person, frames=seed, people=seed)
    return records


def stand_ins(records: Sequence[Record], *, contexts: int, types_per_person: int, seed: int) -> list[Record]:
    """Other people in the sentences of the requesters of `invent_records(…, seed=seed)`, one for one.

    None of their names and identifiers stands in `records`. The same seed gives the same people.
    """
    counts: dict[Kind, int] = {"requester": len({r.person for r in records if r.kind == "requester"})}
    taken = "\n".join(record.text for record in records)
    for draw in itertools.count():
        people = f"{seed}/stand-ins/{draw}"
        found, names = _invented(
            counts, contexts=contexts, types_per_person=types_per_person, frames=seed, people=people
        )
        if not any(new in taken for new in [*names, *(record.value for record in found)]):
            return found
    raise AssertionError("unreachable: the count of draws does not end")


def in_other_templates(records: Sequence[Record], *, count: int, seed: int) -> list[Record]:
    """At most `count` one-off records of other people in templates that stand in no training corpus.

    None of their identifiers stands in `records`.
    """
    taken = "\n".join(record.text for record in records)
    people = f"{seed}/other templates"
    found, _ = _invented(
        {"one-off": count}, contexts=1, types_per_person=1, frames=seed, people=people, templates=OTHER_TEMPLATES
    )
    return [record for record in found if record.value not in taken]


def _invented(
    counts: dict[Kind, int],
    *,
    contexts: int,
    types_per_person: int,
    frames: int,
    people: int | str,
    templates: dict[str, tuple[str, ...]] = TEMPLATES,
) -> tuple[list[Record], list[str]]:
    """Records of that many people of each kind, and the names; `frames` seeds the choice of sentences, `people` who."""
    rng = random.Random(frames)
    faker = Faker("en_US")
    faker.seed_instance(people)
    values = {type_: invented_values(type_, random.Random(f"{people}/{type_}")) for type_ in TYPES}
    records: list[Record] = []
    names: list[str] = []
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    for person, kind in enumerate(kinds):
        names.append(f"{faker.unique.first_name()} {faker.last_name()}" if kind != "one-off" else faker.name())
        for offset in range(1 if kind == "one-off" else types_per_person):
            type_ = TYPES[(person + offset) % len(TYPES)]
            value = next(values[type_])
            for template in rng.sample(templates[type_], 1 if kind == "one-off" else contexts):
                text, start, end = _render(template, names[-1], value)
                records.append(Record(person=person, kind=kind, type=type_, text=text, start=start, end=end))
    return records, names
