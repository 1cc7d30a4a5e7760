"""`revs scan`: what personal data a corpus holds."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, console, emit, table


def register(app: typer.Typer) -> None:
    app.command()(scan)


def scan(
    corpus: Annotated[
        str, typer.Argument(help=".txt, .jsonl, .parquet, a folder of these, or an address such as s3://…")
    ],
    findings: Annotated[Path | None, typer.Option(help="Write every finding as a JSON line, without its text.")] = None,
    recognisers: Annotated[
        Path | None, typer.Option(help="YAML file with own recognisers, by pattern or list.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the personal data in a corpus, by type and file; optionally list every finding's place.

    Example: revs scan corpus.parquet --findings findings.jsonl
    """
    from infra.corpus import Corpus, unread_summary
    from infra.detection import Detector

    detector = Detector.from_file(recognisers) if recognisers else Detector()
    rows = Corpus.open(corpus)
    placed = [(number, finding) for number, text in rows for finding in detector.find(text)]
    survey = rows.survey()
    found = [
        dict(zip(("file", "row"), survey.in_file(number), strict=True))
        | {"start": f.start, "end": f.end, "type": f.type, "score": f.score}
        for number, f in placed
    ]
    if findings is not None:
        findings.write_text("".join(json.dumps(finding) + "\n" for finding in found), encoding="utf-8")
    counts = Counter((finding["file"], finding["type"]) for finding in found)
    summary = [{"file": file, "type": type_, "findings": count} for (file, type_), count in sorted(counts.items())]
    if as_json:
        emit(
            {
                "rows": len(rows),
                "digest": rows.digest,
                "findings": len(found),
                "counts": summary,
                "not_read": rows.ignored,
                "unread": [asdict(unread) for unread in rows.unread],
            }
        )
        return
    unread = unread_summary(rows.unread)
    left_out = f"; {unread} could not be read" if unread else ""
    table(f"personal data in {rows.name} ({len(rows)} rows{left_out})", summary)
    for what in (*rows.ignored, *rows.unread):
        console().print(f"not read: {what}", style="yellow", markup=False)
