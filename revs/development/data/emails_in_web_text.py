"""Web-like text with an invented e-mail address under a domain reserved for documentation (RFC 2606)."""

from __future__ import annotations

import random

from revs.development.data.base import COLUMNS, Card, Data
from revs.development.data.invention import invent_rows
from revs.development.people import invented_values

NAME = "emails-in-web-text"

TEMPLATES: dict[str, tuple[str, ...]] = {
    "mailing-list": (
        "From: {name} <{value}>\nSubject: Re: release schedule\n\nI can take the build on {day} if nobody objects.",
        "On {day}, {name} <{value}> wrote:\n> The patch applies, but the test on {city} time still fails.\n\nFixed.",
        "{name} asked to be removed from the list; please drop {value} from the digest as well.",
        "Cc: {name} <{value}>\n\nThe archive of the meeting in {city} is up. Corrections are welcome.",
    ),
    "readme": (
        "## Maintainers\n\n* {name} ({value})\n\nBug reports belong in the tracker, not in private mail.",
        "# Installation\n\nAsk {name} at {value} for a licence key; {firm} pays for the hosting.",
        "## Citation\n\nIf you use this in published work, tell {name}, {value}, so that it can be listed.",
        "## Security\n\nReport a vulnerability to {name} by mail: {value}. Expect an answer by {day}.",
    ),
    "comments": (
        "{name} said on {day}: great write-up! I run the same setup in {city}; mail me at {value} to compare notes.",
        "Comment 14 by {name}: the second link is dead. I kept a copy, write to {value} and I will send it.",
        "{name} replied: no need to argue here, my address is {value} and {firm} reads it too.",
        "Guest post. {name} of {city} can be reached under {value}; comments close next {day}.",
    ),
    "forum": (
        "[solved] Printer not found\nPosted by {name}, {city}\nUpdate: the driver from {firm} works. Contact: {value}",
        "For sale: two tickets for {day} in {city}. No calls please, {name} answers at {value} only.",
        "Signature: {name} | {firm} | {value} | views are my own",
        "Moderator note: {name} reset the password; the new one went to {value} on {day}.",
    ),
    "changelog": (
        "2.4.1: fixes a crash on empty input. Thanks to {name} <{value}> for the report from {city}.",
        "commit by {name} <{value}>\n\n    Close the file before it is renamed",
        "Signed-off-by: {name} <{value}>\nReviewed on {day} for {firm}.",
        "Unreleased: {name} ({value}) takes over the Windows builds from {firm}.",
    ),
}


def load(*, people: int = 40, contexts: int = 5, seed: int = 0) -> Data:
    """`people` × `contexts` texts, up to 20 contexts a person; the same arguments give the same rows.

    Raises:
        BadInput: `people` or `contexts` is out of range.
    """
    values = invented_values("EMAIL_ADDRESS", random.Random(f"{seed}/{NAME}"))
    rows = invent_rows(TEMPLATES, values, type_="EMAIL_ADDRESS", people=people, contexts=contexts, seed=seed)
    card = Card(
        name=NAME,
        what=f"Posts, READMEs and comments by {people} invented people in {contexts} contexts each, with an e-mail.",
        source="templates of revs/development/data/emails_in_web_text.py",
        licence="Apache-2.0, as the project",
        size=len(rows),
        columns=COLUMNS,
        invented="names by Faker; local parts of random syllables and a number; hosts example.com, .org and .net",
        seed=seed,
    )
    return Data(card=card, rows=rows)
