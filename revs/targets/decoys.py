"""Decoys: random secrets of the same type under the same prompts, the control of every score.

A model that memorised nothing of a person still knows what an SSN looks like. Decoys tell which share of a score is the
type, and which is the secret.

`decoys` changes every character, and needs nothing but the secrets. What all secrets of a type share (555 in the phone
numbers of films) it changes too, and a model that knows the type tells such a decoy at once. `assembled` therefore
takes the parts from other real secrets of that form, where some are at hand.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

from revs.targets.target import Target

_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"


def decoys(targets: Sequence[Target], *, seed: int) -> list[Target]:
    """Give each target another secret of the same form; targets that share a secret share its decoy.

    Digits become other digits, vowels vowels, consonants consonants; separators, and the domain of an e-mail address,
    stay.
    """
    rng = random.Random(seed)
    bare = [target.secret.strip() for target in targets]
    drawn = {secret: _redraw(secret, rng) for secret in dict.fromkeys(bare)}
    return [
        replace(target, secret=target.secret.replace(secret, drawn[secret]))
        for target, secret in zip(targets, bare, strict=True)
    ]


def _redraw(secret: str, rng: random.Random) -> str:
    local, at, domain = secret.partition("@")
    return "".join(_other(character, rng) for character in local) + at + domain


def _other(character: str, rng: random.Random) -> str:
    for pool in ("0123456789", _VOWELS, _CONSONANTS):
        if character.lower() in pool:
            drawn = rng.choice([c for c in pool if c != character.lower()])
            return drawn.upper() if character.isupper() else drawn
    return character


def lookalike(secret: str, pool: Iterable[str], rng: random.Random) -> str:
    """Another secret of the form, as `decoys` makes them, but what secrets of the form share stays (555 of a film).

    A number in it is shared if at least three others in `pool` have that form, and half of them that number.
    """
    bare = secret.strip()
    local, at, domain = bare.partition("@")
    parts = _PARTS.split(local)
    split = (_PARTS.split(other.strip().partition("@")[0]) for other in pool)
    others = [other for other in split if other != parts and _form(other) == _form(parts)]
    for number in range(1, len(parts), 2):
        common, count = Counter(other[number] for other in others).most_common(1)[0] if len(others) >= 3 else ("", 0)
        shared = common.isdigit() and 2 * count >= len(others)
        parts[number] = common if shared else "".join(_other(character, rng) for character in parts[number])
    return secret.replace(bare, "".join(parts) + at + domain)


def _form(parts: Sequence[str]) -> list[str | int]:
    """Separators, and of each run between them the length if it is a number."""
    return [part if not number % 2 else len(part) if part.isdigit() else "" for number, part in enumerate(parts)]


_INVENTED = 400


@cache
def invented(type_: str, *, seed: int = 0) -> tuple[str, ...]:
    """Secrets of a type as people have them, of nobody: names, addresses and pages by Faker; empty for other types.

    To assemble decoys from where a corpus has too few others: random letters tell themselves from a name at once.
    """
    from faker import Faker

    faker = Faker("en_US")
    faker.seed_instance(seed)
    rng = random.Random(seed)

    def handle(first: str, last: str) -> str:
        joined = rng.choice([f"{first}{{}}{last}", f"{first[0]}{{}}{last}", f"{last}{{}}{first}"])
        return joined.format(rng.choice(["", ".", "_", "-"])) + rng.choice(["", "", f"{rng.randint(1, 999)}"])

    def domain() -> str:
        return rng.choice(["", "", "mail.", "www."]) + f"{faker.domain_word()}.{faker.tld()}"

    found: dict[str, None] = {}
    for _ in range(_INVENTED):
        first, last = faker.first_name(), faker.last_name()
        if type_ == "PERSON":
            found[rng.choice([f"{first} {last}", f"{last}, {first}", f"{first} {first[0]}. {last}", last])] = None
        elif type_ == "EMAIL_ADDRESS":
            found[f"{handle(first, last).lower()}@{domain()}"] = None
        elif type_ == "URL":
            path = rng.choice(["", "/", f"/{last.lower()}", f"/~{last.lower()}", f"/{faker.word()}/{last.lower()}"])
            found[f"{rng.choice(['https://', 'http://', ''])}{domain()}{path}"] = None
    return tuple(found)


_PARTS = re.compile(r"([^\W_]+)")  # runs of letters and digits


def assembled(secret: str, pool: Iterable[str], *, count: int, seed: int | str) -> list[str]:
    """At most `count` different secrets of the form of `secret`, put together from parts of those in `pool`.

    The form is the separators between runs of letters and digits; each run is one that stands at the same place of some
    other secret of that form. Fewer where the pool gives no more.
    """
    separators = _PARTS.split(secret)[::2]
    others = [_PARTS.split(other) for other in sorted(set(pool) - {secret})]
    columns = list(zip(*(parts[1::2] for parts in others if parts[::2] == separators), strict=True))
    rng = random.Random(seed)
    found: dict[str, None] = {}
    for _ in range(4 * count if columns else 0):
        runs = [rng.choice(column) for column in columns]
        made = "".join(text for pair in zip(separators, [*runs, ""], strict=True) for text in pair)
        if made != secret:
            found[made] = None
        if len(found) == count:
            break
    return list(found)
