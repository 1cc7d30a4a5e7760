"""Invented people in templates: the common half of the data sets whose rows hold an identifier."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from faker import Faker

from revs.errors import BadInput

Templates = Mapping[str, tuple[str, ...]]  # domain -> texts with {name}, {value} and perhaps {firm}, {city}, {day}

# Faker's own day of the week is that of a date between 1970 and now: tomorrow another, and so is all that follows.
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def invent_rows(
    templates: Templates, values: Iterator[str], *, type_: str, people: int, contexts: int, seed: int
) -> tuple[dict[str, Any], ...]:
    """`people` × `contexts` rows; a person has one identifier, which stands in a different template in every row.

    The domains of a person come in a drawn order, and each again only when all have had their turn: with as many
    contexts as domains, a person stands in each domain once.

    Args:
        templates: by domain, as many in each; {value} stands once in a template.
        values: identifiers, never the same twice.
        type_: of the identifiers, Presidio's name.
        people: at least 1.
        contexts: rows of one person, 1 to the number of templates.
        seed: of names, templates and fillings.

    Raises:
        BadInput: `people` or `contexts` is out of range.
    """
    most = sum(len(texts) for texts in templates.values())
    if people < 1:
        raise BadInput(f"people {people} is below 1; ask for at least one")
    if not 1 <= contexts <= most:
        raise BadInput(f"contexts {contexts} is outside 1 … {most}, the number of templates; ask for fewer")
    rng, faker = random.Random(seed), Faker("en_US")
    faker.seed_instance(seed)
    names, rows = _names(faker), []
    for person in range(people):
        name, value = next(names), next(values)
        for domain, template in _drawn(templates, rng)[:contexts]:
            filling = {"name": name, "firm": faker.company(), "city": faker.city(), "day": faker.random_element(_DAYS)}
            head, tail = (half.format(**filling) for half in template.split("{value}"))
            place = {"text": head + value + tail, "start": len(head), "end": len(head) + len(value)}
            rows.append({**place, "type": type_, "person": person, "domain": domain})
    return tuple(rows)


def _names(faker: Faker) -> Iterator[str]:
    """Never the same twice: one name with two numbers would be two answers to one question."""
    seen: set[str] = set()
    while True:
        name = f"{faker.first_name()} {faker.last_name()}"
        if name not in seen:
            seen.add(name)
            yield name


def _drawn(templates: Templates, rng: random.Random) -> list[tuple[str, str]]:
    """All templates of all domains in a drawn order, the domains in turn."""
    order = rng.sample(sorted(templates), len(templates))
    shuffled = {domain: rng.sample(templates[domain], len(templates[domain])) for domain in order}
    return [(domain, texts.pop()) for _ in range(len(shuffled[order[0]])) for domain, texts in shuffled.items()]
