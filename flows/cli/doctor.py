"""`revs doctor`: whether this installation can do its work."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.common import Home, Json, emit, settings_of, table
from revs.errors import OperationFailed


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="Also read and digest the champions' stored files.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Check home, permissions, requests, batches, models, disk, libraries and device; exit 1 when something is wrong.

    Every finding names the remedy.

    Example: revs doctor --deep
    """
    from tasks.health.installation import examine

    results = [asdict(finding) for finding in examine(lambda: settings_of(home), deep=deep)]
    if as_json:
        emit(results)
    else:
        table("doctor", [{**result, "ok": "✓" if result["ok"] else "✗"} for result in results])
    if bad := [result["check"] for result in results if not result["ok"]]:
        raise OperationFailed(f"not in order: {', '.join(bad)}; see the findings above")
