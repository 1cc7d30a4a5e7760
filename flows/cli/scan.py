"""`revs scan`: what personal data a corpus holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, console, emit, table


def register(app: typer.Typer) -> None:
    app.command()(scan)


def scan(
    corpus: Annotated[Path, typer.Argument(help=".txt, .jsonl, .parquet, or a folder of these.")],
    findings: Annotated[Path | None, typer.Option(help="Write every finding as a JSON line, without its text.")] = None,
    recognisers: Annotated[
        Path | None, typer.Option(help="YAML file with own recognisers, by pattern or list.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Count the personal data in a corpus, by type and file; optionally list every finding's place.

    Example: revs scan corpus.parquet --findings findings.jsonl
    """
    from infra.corpus import Corpus
    from infra.detection import Detector

    detector = Detector.from_file(recognisers) if recognisers else Detector()
    rows = Corpus.open(corpus)
    files = [(file.file, row) for file in rows.files for row in range(file.rows)]
    found = [
        {
            "file": files[number][0],
            "row": files[number][1],
            "start": f.start,
            "end": f.end,
            "type": f.type,
            "score": f.score,
        }
        for number, text in rows
        for f in detector.find(text)
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
            }
        )
        return
    table(f"personal data in {rows.name} ({len(rows)} rows)", summary)
    if rows.ignored:
        console().print(f"not read: {', '.join(rows.ignored)}", style="yellow", markup=False)
