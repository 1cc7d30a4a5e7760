"""Web-like text with the invented address of somebody's page, on a host reserved for documentation (RFC 2606)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from revs.development.data.base import COLUMNS, Card, Data
from revs.development.data.invention import invent_rows

NAME = "urls-in-web-text"

_SYLLABLES = ("ba", "cor", "del", "fen", "gru", "hol", "jin", "kel", "mor", "nav", "pel", "rud", "sol", "tam", "vik")
_FOLDERS = ("~{who}", "people/{who}", "u/{who}", "blog/{who}", "gallery/{who}")

TEMPLATES: dict[str, tuple[str, ...]] = {
    "mailing-list": (
        "{name} wrote:\n> the slides are at {value} until {day}\n\nThanks, that explains the second figure.",
        "The minutes of {city} are missing a page. {name} put it on {value} for the time being.",
        "Subject: [ANN] new mirror\n\n{name} mirrors the archive under {value} from {day} on.",
        "> who keeps the list of members?\n{name} does, see {value} and ask there.",
    ),
    "readme": (
        "## Author\n\nWritten by {name}, whose other work is on {value} with sources.",
        "# Demo\n\nA running copy by {name} of {firm}: {value} (reset every {day}).",
        "## Thanks\n\nTo {name} for the icons, taken from {value} with permission.",
        "## Documentation\n\nThe long version by {name} lives at {value} and is built each {day}.",
    ),
    "comments": (
        "{name} said on {day}: I tried this in {city} and wrote it up: {value} if anybody cares.",
        "Comment 7 by {name}: shameless plug, my photos of {city} are on {value} now.",
        "{name} replied: the numbers of {firm} are wrong, mine are at {value} with the script.",
        "Pingback: {name} quotes this post on {value} and disagrees with half of it.",
    ),
    "forum": (
        "Signature: {name}, {city}. Homepage: {value} (under construction)",
        "Moved to classifieds. Pictures of the bicycle by {name}: {value} first come, first served.",
        "[help] Layout broken\nPosted by {name}\nSee {value} in any browser; {firm} blames the proxy.",
        "Introduce yourself: {name} from {city}, profile {value} and no social media.",
    ),
    "link-list": (
        "* {name}, {city}: {value} (recipes, updated on {day})",
        "Blogroll: {name} at {value} writes about trains and little else.",
        "Dead links of this week: {firm}; moved: {name}, now {value} for good.",
        "Further reading: {name}, notes on {city}, {value} last seen on {day}.",
    ),
}


def load(*, people: int = 40, contexts: int = 5, seed: int = 0) -> Data:
    """`people` × `contexts` texts, up to 20 contexts a person; the same arguments give the same rows.

    Raises:
        BadInput: `people` or `contexts` is out of range.
    """
    values = _urls(random.Random(f"{seed}/{NAME}"))
    rows = invent_rows(TEMPLATES, values, type_="URL", people=people, contexts=contexts, seed=seed)
    card = Card(
        name=NAME,
        what=f"Posts, READMEs and comments by {people} invented people in {contexts} contexts each, with a page's URL.",
        source="templates of revs/development/data/urls_in_web_text.py",
        licence="Apache-2.0, as the project",
        size=len(rows),
        columns=COLUMNS,
        invented="names by Faker; paths of random syllables and a number; hosts example.com, .org and .net",
        seed=seed,
    )
    return Data(card=card, rows=rows)


def _urls(rng: random.Random) -> Iterator[str]:
    """Never the same twice."""
    seen: set[str] = set()
    while True:
        who = "".join(rng.choices(_SYLLABLES, k=3)) + str(rng.randint(100, 999))
        host = f"example.{rng.choice(['com', 'org', 'net'])}"
        url = f"https://{host}/{rng.choice(_FOLDERS).format(who=who)}"
        if url not in seen:
            seen.add(url)
            yield url
