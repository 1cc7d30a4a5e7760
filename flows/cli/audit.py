"""`revs audit`: the report of a batch again, from what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Home, Json, answer, settings_of


def audit(
    batch_id: Annotated[str, typer.Argument(help="Batch, as shown by process and by requests list.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.html and report.json.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Write the audit report of a closed batch, HTML and JSON, from the recorded evidence; same record, same bytes.

    Example: revs audit B-20261123-0a1b2c --out audit
    """
    settings = settings_of(home)
    from tasks.versions.audit import audit_batch

    result = audit_batch(settings, batch_id, out)
    answer(result, f"batch {batch_id} {result['status']}; report: {result['report']}", as_json=as_json)
