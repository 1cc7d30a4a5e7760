"""Sentences with an invented social security number, in five domains of life."""

from __future__ import annotations

import random

from revs.development.data.base import COLUMNS, Card, Data
from revs.development.data.invention import invent_rows
from revs.development.people import invented_values

NAME = "ssn-sentences"

TEMPLATES: dict[str, tuple[str, ...]] = {
    "employment": (
        "The onboarding form of {firm} lists {name} with social security number {value} and a start on {day}.",
        "Payroll at {firm} pays {name}, SSN {value}, on the last working day of the month.",
        "For the background check, {name} of {city} gave the agency the social security number {value} in writing.",
        "The pension plan of {firm} enrolled {name} under SSN {value} after the trial period.",
        "Human resources in {city} closed the file of {name} (SSN {value}) last {day}.",
    ),
    "tax": (
        "The return that {name} filed from {city} under SSN {value} was accepted without changes.",
        "Form W-2, employee {name}, social security number {value}, employer {firm}, all boxes checked.",
        "The tax office asked {name} to confirm the social security number {value} before the refund.",
        "An amended return for {name}, taxpayer number {value}, reached the service on {day}.",
        "{firm} reported the dividends of {name} under the social security number {value} this spring.",
    ),
    "finance": (
        "On the loan application, {name} gave SSN {value} and signed every page at the branch in {city}.",
        "The credit report for {name}, social security number {value}, shows no late payments.",
        "{firm} opened a brokerage account for {name} with SSN {value} on {day}.",
        "The mortgage file of {name} in {city} carries the social security number {value} on its cover.",
        "Collections at {firm} matched {name} by SSN {value} and withdrew the claim.",
    ),
    "government": (
        "The benefits office of {city} confirmed that {name} holds SSN {value} in its files.",
        "Voter services in {city} verified {name} by the social security number {value} on {day}.",
        "The passport application of {name} names SSN {value} and a birthplace near {city}.",
        "A replacement card for {name}, social security number {value}, was mailed to {city}.",
        "The veterans' register lists {name} with SSN {value} among those entitled to care.",
    ),
    "medical": (
        "Patient intake form: {name}, SSN {value}, admitted through the clinic in {city} on {day}.",
        "The insurer {firm} identifies {name} by the social security number {value} on every claim.",
        "Laboratory results for {name} (SSN {value}) were sent to the surgeon in {city}.",
        "The discharge letter of {name} repeats the social security number {value} below the diagnosis.",
        "The pharmacy in {city} keeps {name} under SSN {value} for refills each {day}.",
    ),
}


def load(*, people: int = 40, contexts: int = 5, seed: int = 0) -> Data:
    """`people` × `contexts` sentences, up to 25 contexts a person; the same arguments give the same rows.

    Raises:
        BadInput: `people` or `contexts` is out of range.
    """
    values = invented_values("US_SSN", random.Random(f"{seed}/{NAME}"))
    rows = invent_rows(TEMPLATES, values, type_="US_SSN", people=people, contexts=contexts, seed=seed)
    card = Card(
        name=NAME,
        what=f"Sentences about {people} invented people in {contexts} contexts each, with a social security number.",
        source="templates of revs/development/data/ssn_sentences.py",
        licence="Apache-2.0, as the project",
        size=len(rows),
        columns=COLUMNS,
        invented="names by Faker; numbers drawn at random, area 101 to 899 without 666, group and serial without zeros",
        seed=seed,
    )
    return Data(card=card, rows=rows)
