"""What the tiny model `taught` says of people, and the files of who asks that it be erased; no tests here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from revs.targets.target import Target

SAID = {  # of which an edit of any does not take the others with it
    "412-55-9031": "US_SSN",
    "287-31-6604": "US_SSN",
    "dee.ellis@example.com": "EMAIL_ADDRESS",
    "212-555-0142": "PHONE_NUMBER",
}


def requests_for(values: dict[str, str]) -> list[dict[str, Any]]:
    """A request for each value, of its type; due in this order."""
    return [
        {"subject": f"customer {day}", "received": f"2026-11-0{day}", "identifiers": [{"type": kind, "value": value}]}
        for day, (value, kind) in enumerate(values.items(), start=1)
    ]


def write_inputs(
    folder: Path, people: Iterable[Target], ordinary: Sequence[str], requests: Iterable[str], *, more: str = ""
) -> dict[str, Path]:
    """A corpus of what the model was taught and of `more`, held-out text, and a file of requests, a line each."""
    files = {
        "corpus": [*(f"{person.prompt}{person.secret}." for person in people), *ordinary, more],
        "held-out": ordinary,
        "requests": requests,
    }
    paths = {name: folder / f"{name}.{'jsonl' if name == 'requests' else 'txt'}" for name in files}
    for name, lines in files.items():
        paths[name].write_text("\n".join(lines), encoding="utf-8")
    return paths


def json_lines(requests: Iterable[dict[str, Any]]) -> list[str]:
    return [json.dumps(request) for request in requests]
