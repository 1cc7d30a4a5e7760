"""Ordinary English that every installation carries: docstrings of the installed packages. Real text, never random."""

from __future__ import annotations

from revs.development.data.base import Card, Data
from revs.development.ordinary_text import PACKAGES, paragraphs
from revs.errors import BadInput

NAME = "docstrings"


def load(*, rows: int = 1000) -> Data:
    """At most `rows` distinct paragraphs of prose; another version of a package gives other rows and another digest.

    Raises:
        BadInput: `rows` is below 1.
    """
    if rows < 1:
        raise BadInput(f"rows {rows} is below 1; ask for at least one")
    found = tuple({"text": text} for text in paragraphs(limit=rows))
    card = Card(
        name=NAME,
        what="Paragraphs of English prose from docstrings, without addresses or long numbers: for perplexity, offline.",
        source=f"installed packages: {', '.join(PACKAGES)}",
        licence="those of the packages (BSD, Apache-2.0, PSF)",
        size=len(found),
        columns=("text",),
        invented="not invented",
    )
    return Data(card=card, rows=found)
