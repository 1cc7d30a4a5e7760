"""`revs reconcile`: whether what serves is what was made champion here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.common import Home, Json, answer, settings_of


def reconcile(
    restore: Annotated[
        bool, typer.Option("--restore", help="Move aliases back that were moved elsewhere; else they are only told.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Compare the champions with the audit log; exit 1 where one was moved elsewhere, was changed or lacks an erasure.

    Example: revs reconcile --restore
    """
    from revs.errors import OperationFailed

    settings = settings_of(home)
    from tasks.versions.guard import reconcile as compare

    found = compare(settings, restore=restore)
    lines = [f"{each.model}: the alias was moved back to {each.restored}" for each in found if each.restored]
    lines += [f"{each.model}: {problem}" for each in found for problem in each.problems]
    answer(
        [asdict(each) for each in found], "\n".join(lines) or f"{len(found)} models are as recorded", as_json=as_json
    )
    if wrong := [each.model for each in found if each.problems]:
        raise OperationFailed(f"{len(wrong)} of {len(found)} models are not as recorded: {', '.join(wrong)}; see above")
