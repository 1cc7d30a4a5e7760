"""Rows of a JSON Lines file: the Enron mails, the Pile and their like, from a path of one's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from revs.development.data.base import Card, Data
from revs.errors import BadInput

NAME = "jsonl"


def load(path: str | Path, *, text: str = "text", meta: Sequence[str] = (), rows: int | None = None) -> Data:
    """The first `rows` lines of the file (None: all), held in memory; empty lines are passed over.

    Args:
        path: a JSON Lines file in UTF-8, an object a line.
        text: the column that holds the text; it is called `text` in the rows.
        meta: columns to keep beside it, under their own names; null where a line lacks one.
        rows: at least 1.

    Raises:
        BadInput: no such file, not UTF-8, no line, or a line that is no JSON object, or lacks a text in that column.
            The message gives the number of the line, from 1, and nothing of what stands there.
    """
    path = Path(path)
    if rows is not None and rows < 1:
        raise BadInput(f"rows {rows} is below 1; ask for at least one, or for all with None")
    if "text" in meta:
        raise BadInput("meta names the column 'text', which is the name of the text itself; leave it out")
    if not path.is_file():
        raise BadInput(f"{path} is no file; give a JSON Lines file, one object a line")
    try:
        found = tuple(islice(_rows(path, text, meta), rows))
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8; convert it first") from None
    if not found:
        raise BadInput(f"{path} has no lines; give a JSON Lines file, one object a line")
    card = Card(
        name=NAME,
        what=f"Texts of column {text!r} of a file.",
        source=str(path),
        licence="that of the file; this project does not know it",
        size=len(found),
        columns=("text", *meta),
        invented="not invented: the rows may hold personal data",
    )
    return Data(card=card, rows=found)


def _rows(path: Path, text: str, meta: Sequence[str]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except ValueError:  # `from None`: the error of json holds the line
                raise BadInput(f"{path}, line {number} is broken JSON; repair or remove it") from None
            if not isinstance(entry, dict):
                raise BadInput(f"{path}, line {number} is no JSON object; write one object a line")
            if not isinstance(entry.get(text), str):
                raise BadInput(f"{path}, line {number} has no text in column {text!r}; name the column that holds it")
            yield {"text": entry[text], **{column: entry.get(column) for column in meta}}
