"""Documents with personal data at known places, to measure detection on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from faker import Faker
from invented import BARE, VALUES, Labelled, Page, lookalike
from lookalikes import sceptical

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "sv_SE", "pl_PL", "pt_BR", "nl_NL", "ja_JP", "zh_CN")
HELD_OUT = frozenset({"list", "html", "chat"})
"""Styles that were not looked at while the rules of detection were written."""


WORDS = {
    "EMAIL_ADDRESS": ("e-mail", "mail", "contact", "to"),
    "US_SSN": ("SSN", "social security number", "Social Security No.", "ssn"),
    "PHONE_NUMBER": ("phone", "tel", "mobile", "cell", "Tel.", "fax"),
    "URL": ("site", "see", "link"),
    "CREDIT_CARD": ("card", "Visa", "charged to", "paid with"),
    "IBAN_CODE": ("IBAN", "account", "transfer to"),
    "IP_ADDRESS": ("ip", "from", "host", "address"),
}
LOCAL_PHONE = {
    "de_DE": "Telefon",
    "fr_FR": "téléphone",
    "es_ES": "teléfono",
    "it_IT": "telefono",
    "sv_SE": "telefon",
    "pl_PL": "telefon",
    "pt_BR": "telefone",
    "nl_NL": "telefoon",
    "ja_JP": "電話",
    "zh_CN": "电话",
}


def name_of(page: Page, type_: str) -> str:
    return (
        LOCAL_PHONE.get(page.locale, "phone")
        if type_ == "PHONE_NUMBER" and page.rng.random() < 0.5
        else page.of(*WORDS[type_])
    )


def some(page: Page, most: int) -> Iterator[str]:
    yield from page.rng.choices(list(VALUES), k=page.rng.randint(0, most))


def put_named(page: Page, type_: str, link_: str) -> None:
    """The value behind its name; numbers without separators only so."""
    page.say(f"{name_of(page, type_)}{link_}")
    if type_ in BARE and page.rng.random() < 0.25:
        value = BARE[type_](page)
        page.spans.append((page._length, page._length + len(value), type_))
        page.say(value)
    else:
        page.put(type_)


def letter(page: Page) -> None:
    page.say(f"{page.fake.name()}\n{page.fake.last_name()}\n\n{page.sentence()} ")
    for type_ in some(page, 4):
        if page.rng.random() < 0.5:
            put_named(page, type_, page.of(": ", " ", " is "))
        else:
            page.say(f"{page.sentence()[:-1]} ").put(type_)
        page.say(page.of(". ", ", ", " (" + page.fake.first_name() + "). ", "; ")).say(f"{page.sentence()} ")
        if page.rng.random() < 0.4:
            page.say(f"{lookalike(page)}{page.of('. ', ', ', ' ')}")
    page.say(f"\n\n{page.fake.name()}")


def ticket(page: Page) -> None:
    page.say(f"#{page.digits(5)} {page.sentence()}\n")
    for type_ in some(page, 5):
        put_named(page, type_, page.of(": ", " = ", " - ", ":\t"))
        page.say(f"\n{page.of('Status', 'Item', 'Detail')}: {lookalike(page)}\n")
    page.say(page.sentence())


def log(page: Page) -> None:
    for number in range(page.rng.randint(1, 5)):
        page.say(
            f"2024-0{number + 1}-1{page.digits(1)} 1{page.digits(1)}:3{page.digits(1)}:0{page.digits(1)}"
            f",{page.digits(3)} {page.of('INFO', 'WARN')} "
        )
        type_ = page.of("EMAIL_ADDRESS", "URL", "IP_ADDRESS", "IP_ADDRESS", "PHONE_NUMBER")
        page.say(page.of("user=", "GET ", "from ", "value: ", "[", '"')).put(type_)
        page.say(page.of(" ", "] ", '" ', ", ", " -> ")).say(f"{lookalike(page)} {page.digits(4)}ms\n")


def table(page: Page) -> None:
    gap = page.of(",", ";", "\t", "|")
    for _ in range(page.rng.randint(1, 4)):
        page.say(page.fake.last_name())
        for type_ in page.rng.sample(
            ["EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS", "URL"], k=3
        ):
            page.say(gap).put(type_)
        page.say(f"{gap}{page.digits(page.rng.randint(2, 6))}{gap}{page.rng.randint(1, 99)}.{page.digits(2)}\n")


def mailing_list(page: Page) -> None:
    page.say(f"From: {page.fake.name()} <").put("EMAIL_ADDRESS").say(
        f">\nSubject: Re: {page.sentence()}\nDate: Mon, 1{page.digits(1)} May 2024 10:2{page.digits(1)}:00 +0200\n\n"
    )
    page.say("> ").put("EMAIL_ADDRESS").say(f" wrote:\n> {page.sentence()} {lookalike(page)}\n> {page.sentence()}\n\n")
    for type_ in some(page, 3):
        page.say(f"{page.sentence()[:-1]} ")
        put_named(page, type_, page.of(" ", ": "))
        page.say(page.of(".\n", "\n", " - ok?\n"))
    page.say("-- \n").say(page.fake.name()).say("\n").put(page.of("URL", "PHONE_NUMBER")).say("\n")


def markup(page: Page) -> None:
    page.say(f"<h1>{page.fake.company()}</h1>\n<p>{page.sentence()}</p>\n")
    for type_ in some(page, 5):
        if type_ == "URL":
            page.say('<a href="').put("URL").say(f'">{page.fake.word()}</a>\n')
        elif type_ == "EMAIL_ADDRESS":
            page.say('<a href="mailto:').put("EMAIL_ADDRESS").say('">').put("EMAIL_ADDRESS").say("</a>\n")
        else:
            page.say("<tr><td>")
            put_named(page, type_, page.of("</td><td>", ": <b>"))
            page.say(f"</td><td class='n{page.digits(2)}'>{lookalike(page)}</td></tr>\n")


def chat(page: Page) -> None:
    for _ in range(page.rng.randint(2, 6)):
        page.say(f"[{page.digits(1)}:2{page.digits(1)}] {page.fake.first_name().lower()}: ")
        if page.rng.random() < 0.6:
            type_ = page.of(*VALUES)
            page.say(page.of("", "ok ", "its ", "yes - ", "here: ", f"{page.fake.word()}? ")).put(type_).say(
                page.of("", " thx", "!", " 👍", "?")
            )
        else:
            page.say(page.of(page.sentence(), lookalike(page)))
        page.say("\n")


def plain(page: Page) -> None:
    page.say(page.fake.text(page.rng.randint(60, 900)))
    if page.rng.random() < 0.5:
        page.say(f" {lookalike(page)} {page.sentence()}")


def markdown(page: Page) -> None:
    """Links, code spans and a signature; half of the rest is what looks like personal data."""
    page.say(f"# {page.sentence()}\n\n")
    for _ in range(page.rng.randint(1, 4)):
        page.say(f"- {page.sentence()[:-1]} `{sceptical(page.rng)}` and {sceptical(page.rng)}.\n")
    page.say(f"\nSee [{page.fake.word()}](").put("URL").say(page.of(") ", "), ", ").\n"))
    page.say("or <").put(page.of("URL", "EMAIL_ADDRESS")).say(">.\n\n")
    for type_ in some(page, 3):
        put_named(page, type_, page.of(": ", ": **", ": `"))
        page.say(page.of("**\n", "`\n", "\n"))


def record(page: Page) -> None:
    """JSON of one object, with ids, times and amounts beside what is personal."""
    keys = {"EMAIL_ADDRESS": "email", "US_SSN": "ssn", "PHONE_NUMBER": "phone", "URL": "website"}
    keys |= {"CREDIT_CARD": "card_number", "IBAN_CODE": "iban", "IP_ADDRESS": "client_ip"}
    page.say("{")
    for type_ in some(page, 4):
        page.say(f'"{keys[type_]}": "').put(type_).say('", ')
        page.say(f'"note": "{sceptical(page.rng)}", "created": 17{page.digits(8)}, ')
    page.say(f'"customer_id": {page.digits(9)}, "sku": "{page.digits(4)}-{page.digits(4)}"' + "}\n")


def terminal(page: Page) -> None:
    """A session at a prompt: versions, paths, hashes; addresses only where a program prints them."""
    for _ in range(page.rng.randint(2, 6)):
        page.say(f"{page.of('$ ', '# ', '> ', 'kim@build:~$ ')}{sceptical(page.rng)} {sceptical(page.rng)}\n")
        type_ = page.of("IP_ADDRESS", "EMAIL_ADDRESS", "URL")
        if page.rng.random() < 0.5:
            page.say({"IP_ADDRESS": "PING ", "EMAIL_ADDRESS": "Author: Kim <", "URL": "Cloning "}[type_]).put(type_)
            page.say({"IP_ADDRESS": " 56(84) bytes\n", "EMAIL_ADDRESS": ">\n", "URL": " ...\n"}[type_])


STYLES: dict[str, Callable[[Page], None]] = {
    "letter": letter,
    "ticket": ticket,
    "log": log,
    "table": table,
    "list": mailing_list,
    "html": markup,
    "chat": chat,
    "plain": plain,
    "markdown": markdown,
    "json": record,
    "shell": terminal,
}


def corpus(count: int = 10_000, *, seed: int = 0) -> Iterator[Labelled]:
    """`count` documents, the same for the same seed, in turn of styles and with a random locale."""
    rng = random.Random(seed)
    fakers = {locale: Faker(locale) for locale in LOCALES}
    for number, fake in enumerate(fakers.values()):
        fake.seed_instance(seed * len(fakers) + number)
    names = list(STYLES)
    for number in range(count):
        locale = rng.choice(LOCALES)
        page = Page(rng, fakers[locale], locale)
        style = names[number % len(names)]
        STYLES[style](page)
        yield page.labelled(style)
